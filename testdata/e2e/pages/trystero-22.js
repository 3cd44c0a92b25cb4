import { joinRoom } from 'trystero-22/torrent'
import { trystero } from './shared/trystero.js'

trystero(joinRoom)
