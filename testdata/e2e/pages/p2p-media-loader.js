// The first page loads the segment over HTTP, the second from the first.
import { Core } from 'p2p-media-loader-core'
import { ice } from './shared/meeting.js'

const segments = [0, 1, 2, 3].map(i => ({
  runtimeId: `segment-${i}`, externalId: i, url: `${location.origin}/segment/${i}`, startTime: i * 100, endTime: (i + 1) * 100
}))

globalThis.e2e = {
  async load (trackers, swarm, index) {
    const core = new Core({
      announceTrackers: trackers,
      rtcConfig: ice,
      swarmId: swarm,
      highDemandTimeWindow: 0,
      httpDownloadTimeWindow: 0,
      p2pDownloadTimeWindow: 3000
    })
    globalThis.core = core
    const started = performance.now()
    const connected = new Promise(resolve => core.addEventListener('onPeerConnect', resolve))
    core.setManifestResponseUrl(`${location.origin}/manifest`)
    core.addStreamIfNoneExists({ runtimeId: 'main', type: 'main', index: '0' })
    core.updateStream('main', segments)
    core.updatePlayback(0, 1)
    const loaded = new Promise((resolve, reject) => core.loadSegment(`segment-${index}`, { onSuccess: resolve, onError: reject }))
    globalThis.met = Promise.all([connected, loaded]).then(([peer, response]) => ({
      ms: Math.round(performance.now() - started), bytes: response.data.byteLength, peer: peer.peerId
    }))
  },
  met: () => globalThis.met
}
globalThis.ready = true
