// Clients list several trackers. One that is on both nodes is one peer: it is
// never offered to itself and counts once, and the nodes share its swarm.

import assert from 'node:assert/strict'
import { goClient } from '../lib/goclient.js'
import { spy } from '../lib/spy.js'
import { eventually, sleep, within } from '../lib/suite.js'
import { scrape } from '../lib/tracker.js'

const SIZE = 1_000_000

export function sameClientCases (suite, { lab, browser, goClient: binary }) {
  const seeders = {
    async browser (trackers) {
      const page = await browser.page('webtorrent')
      return { result: page.call('seed', trackers, SIZE), close: () => page.close() }
    },
    async Go (trackers) {
      return goClient(binary, 'seed', trackers, '-size', String(SIZE))
    }
  }
  if (!binary) delete seeders.Go
  for (const [name, seed] of Object.entries(seeders)) {
    suite.add(`${name} on both nodes is one peer`, async () => {
      const [onA, onB] = [await spy(lab.a.url), await spy(lab.b.url)]
      const seeder = await seed([onA.url, onB.url])
      const leechers = []
      try {
        const { infoHash, peerId } = await seeder.result
        const self = Buffer.from(peerId, 'hex').toString('latin1')
        const mine = () => [...onA.toClient, ...onB.toClient].filter(f => f.peer_id === self)
        await eventually('both announces', () => onA.toClient.length > 0 && onB.toClient.length > 0)

        // Peers that arrive on either node prove that the swarm is shared:
        // each finds the other too, and both count the seeder once.
        for (const node of [lab.a, lab.b]) {
          const page = await browser.page('webtorrent')
          leechers.push(page)
          await within(60_000, 'download', page.call('leech', infoHash, [node.url]))
        }
        for (const node of [lab.a, lab.b]) {
          let last
          await eventually('one seeder and two others', async () => {
            last = await scrape(node.url, infoHash)
            return last.complete + last.incomplete === 3
          }).catch(err => { throw new Error(`${err.message}; ${node.name} counts ${JSON.stringify(last)}`) })
        }
        // What would come back to its sender takes longer than this to be
        // drawn only if nobody draws it.
        await sleep(2_000)
        assert.deepEqual(mine(), [])
      } finally {
        await Promise.all(leechers.map(page => page.close()))
        await seeder.close()
        onA.close()
        onB.close()
      }
    })
  }
}
