import P2PT from 'p2pt'
import { meeting, repeat } from './shared/meeting.js'

meeting(({ trackers, room, words, resolve }) => {
  const p2pt = new P2PT(trackers, room)
  p2pt.on('peerconnect', peer => repeat(() => p2pt.send(peer, words)))
  p2pt.on('msg', (peer, msg) => resolve(msg))
  p2pt.start()
})
