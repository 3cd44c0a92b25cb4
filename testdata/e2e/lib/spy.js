// A spy stands between a client and a tracker, passes everything on and
// remembers what it saw.

import { WebSocket, WebSocketServer } from 'ws'

export async function spy (target) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
  await new Promise(resolve => server.once('listening', resolve))
  const toClient = []
  const toTracker = []
  server.on('connection', client => {
    const tracker = new WebSocket(target, { perMessageDeflate: false })
    const waiting = []
    const pass = (to, data, binary) => to.readyState === WebSocket.OPEN && to.send(data, { binary })
    client.on('message', (data, binary) => {
      toTracker.push(JSON.parse(data))
      if (tracker.readyState === WebSocket.CONNECTING) waiting.push([data, binary])
      else pass(tracker, data, binary)
    })
    client.on('ping', data => tracker.readyState === WebSocket.OPEN && tracker.ping(data))
    tracker.on('open', () => waiting.forEach(([data, binary]) => pass(tracker, data, binary)))
    tracker.on('message', (data, binary) => {
      toClient.push(JSON.parse(data))
      pass(client, data, binary)
    })
    client.on('close', () => tracker.close())
    tracker.on('close', () => client.close())
    client.on('error', () => tracker.terminate())
    tracker.on('error', () => client.terminate())
  })
  return {
    url: `ws://127.0.0.1:${server.address().port}`,
    toClient,
    toTracker,
    close () {
      for (const client of server.clients) client.terminate()
      server.close()
    }
  }
}
