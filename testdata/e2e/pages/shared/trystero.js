// trystero's rooms look the same in all versions but for the names of options
// and for how listeners are set.
import { ice, meeting, repeat } from './meeting.js'

export function trystero (joinRoom, { since25 = false } = {}) {
  meeting(({ trackers, room: name, words, resolve }) => {
    const relays = since25 ? { relayConfig: { urls: trackers } } : { relayUrls: trackers, relayRedundancy: trackers.length }
    const room = joinRoom({ appId: 'peerservers-e2e', rtcConfig: ice, ...relays }, name)
    if (since25) {
      const action = room.makeAction('words')
      action.onMessage = data => resolve(data)
      room.onPeerJoin = () => repeat(() => action.send(words))
      return
    }
    const [send, hear] = room.makeAction('words')
    hear(data => resolve(data))
    room.onPeerJoin(() => repeat(() => send(words)))
  })
}
