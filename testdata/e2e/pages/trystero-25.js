import { joinRoom } from '@trystero-p2p/torrent'
import { trystero } from './shared/trystero.js'

trystero(joinRoom, { since25: true })
