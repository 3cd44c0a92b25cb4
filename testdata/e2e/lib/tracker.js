// The few frames that the harness itself sends a tracker.

import { WebSocket } from 'ws'

// scrape asks a tracker for the counts of one info hash.
export async function scrape (url, infoHash) {
  const key = Buffer.from(infoHash, 'hex').toString('latin1')
  const socket = new WebSocket(url)
  try {
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    const reply = new Promise(resolve => socket.once('message', resolve))
    socket.send(JSON.stringify({ action: 'scrape', info_hash: key }))
    const { complete, incomplete } = JSON.parse(await reply).files[key]
    return { complete, incomplete }
  } finally {
    socket.close()
  }
}
