// A page with webtorrent's published bundle, seeding or downloading.
import WebTorrent from '/webtorrent.min.js'

const client = new WebTorrent({
  // An empty list, or each connection waits for STUN servers out of reach.
  tracker: { rtcConfig: { iceServers: [] } },
  dht: false,
  lsd: false,
  utPex: false
})
const hex = bytes => Array.from(new Uint8Array(bytes), b => b.toString(16).padStart(2, '0')).join('')
const sha256 = async data => hex(await crypto.subtle.digest('SHA-256', data))

function random (size) {
  const data = new Uint8Array(size)
  for (let i = 0; i < size; i += 65536) crypto.getRandomValues(data.subarray(i, Math.min(i + 65536, size)))
  return data
}

globalThis.e2e = {
  async seed (announce, size) {
    const data = random(size)
    const torrent = await new Promise((resolve, reject) => {
      client.once('error', reject)
      client.seed(new File([data], 'random.bin'), { announce }, resolve)
    })
    return { infoHash: torrent.infoHash, peerId: client.peerId, sha256: await sha256(data), length: size }
  },

  // leech resolves when the download is complete.
  async leech (infoHash, announce) {
    const started = performance.now()
    let firstPeerMs
    const wires = []
    const torrent = client.add(infoHash, { announce })
    await new Promise((resolve, reject) => {
      client.once('error', reject)
      torrent.on('wire', wire => {
        firstPeerMs ??= Math.round(performance.now() - started)
        wires.push(wire.type)
      })
      torrent.once('done', resolve)
    })
    const doneMs = Math.round(performance.now() - started)
    const blob = await torrent.files[0].blob()
    const data = await blob.arrayBuffer()
    return { sha256: await sha256(data), length: data.byteLength, firstPeerMs, doneMs, wires, peerId: client.peerId }
  }
}
globalThis.ready = true
