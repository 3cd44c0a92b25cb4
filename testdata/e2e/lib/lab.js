// A lab is what the clients of a case talk to: node A and node B, which know
// each other only through a private DHT, or one reference tracker that stands
// for both.

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { freePort, start } from './processes.js'
import { eventually } from './suite.js'

// federated starts a private DHT and two nodes with nothing but the lists per
// info hash to meet by.
export async function federated ({ binary, flags = [] }) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'peerservers-e2e-'))
  const dhtPort = await freePort()
  const dht = start(binary, ['dht', '--listen', `127.0.0.1:${dhtPort}`], { label: 'dht' })
  await settled(dht)
  const node = async name => {
    const port = await freePort()
    const admin = await freePort()
    const url = `ws://127.0.0.1:${port}`
    const proc = start(binary, [
      'serve',
      '--listen', `127.0.0.1:${port}`,
      '--node-url', url,
      '--data-dir', path.join(dir, name),
      '--dht-listen', `127.0.0.1:${await freePort()}`,
      '--dht-bootstrap', `127.0.0.1:${dhtPort}`,
      '--allow-private',
      '--no-rendezvous',
      '--admin', `127.0.0.1:${admin}`,
      ...flags
    ], { label: name })
    await healthy(port, proc)
    return { name, url, http: `http://127.0.0.1:${port}`, admin: `http://127.0.0.1:${admin}`, proc }
  }
  const [a, b] = [await node('A'), await node('B')]
  return {
    a,
    b,
    dht,
    async close () {
      const ends = await Promise.all([a, b].map(n => n.proc.stop()))
      await dht.stop()
      fs.rmSync(dir, { recursive: true, force: true })
      return ends
    }
  }
}

// reference runs npm bittorrent-tracker's own server as both nodes, to tell a
// fault of ours from one of a client or of the harness.
export async function reference () {
  const { default: Server } = await import('bittorrent-tracker/server')
  const server = new Server({ udp: false, http: false, ws: true, stats: true })
  server.on('warning', () => {})
  const port = await freePort()
  await new Promise(resolve => server.listen(port, '127.0.0.1', resolve))
  const node = { name: 'reference', url: `ws://127.0.0.1:${port}`, http: `http://127.0.0.1:${port}` }
  return { a: node, b: node, close: async () => { server.close(); return [] } }
}

async function healthy (port, proc) {
  let ended
  proc.exited.then(end => { ended = end })
  await eventually('/health answers 200', async () => {
    if (ended) throw new Error(`the node ended: ${JSON.stringify(ended)}\n${proc.lines.join('\n')}`)
    try {
      return (await fetch(`http://127.0.0.1:${port}/health`)).status === 200
    } catch {
      return false
    }
  })
}

async function settled (proc) {
  await Promise.race([
    proc.line(/listen/i),
    proc.exited.then(end => { throw new Error(`the DHT node ended: ${JSON.stringify(end)}\n${proc.lines.join('\n')}`) })
  ])
}
