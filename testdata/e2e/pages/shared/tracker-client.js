// npm bittorrent-tracker's own client, in the two versions that apps ship.
import { ice, repeat } from './meeting.js'

const utf8 = new TextDecoder()

export function trackerClient (Client) {
  const open = (trackers, infoHash) => {
    const peerId = Array.from(crypto.getRandomValues(new Uint8Array(20)), b => b.toString(16).padStart(2, '0')).join('')
    return new Client({ infoHash, peerId, announce: trackers, rtcConfig: ice, port: 6881 })
  }
  const scripted = { client: null, warnings: [], updates: 0 }

  globalThis.e2e = {
    async meet (trackers, infoHash, words) {
      const started = performance.now()
      const client = open(trackers, infoHash)
      const heard = await new Promise(resolve => {
        client.on('peer', peer => {
          peer.on('connect', () => repeat(() => peer.send(words)))
          peer.on('data', data => resolve(utf8.decode(data)))
        })
        client.start()
      })
      return { heard, ms: Math.round(performance.now() - started) }
    },

    scrape: (announce, infoHash) => new Promise((resolve, reject) => {
      Client.scrape({ infoHash, announce }, (err, results) => err ? reject(err) : resolve(results))
    }),

    // open starts a client whose socket the case then abuses.
    async open (tracker, infoHash) {
      const client = scripted.client = open([tracker], infoHash)
      client.on('warning', err => scripted.warnings.push(err.message))
      client.on('update', () => scripted.updates++)
      client.start()
    },
    // inject sends a frame on the client's own socket.
    inject: frame => scripted.client._trackers[0].socket.send(frame),
    update: () => scripted.client.update(),
    state () {
      const [tracker] = scripted.client._trackers
      return {
        updates: scripted.updates,
        warnings: scripted.warnings,
        alive: !tracker.destroyed && !tracker.reconnecting && tracker.socket.connected
      }
    }
  }
  globalThis.ready = true
}
