import { joinRoom } from 'trystero-20/torrent'
import { trystero } from './shared/trystero.js'

trystero(joinRoom)
