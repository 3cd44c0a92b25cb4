// The apps and libraries that list a tracker: two pages of each meet, one on
// node A and one on node B.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { within } from '../lib/suite.js'

const apps = ['tracker-9', 'tracker-11', 'p2pt', 'trystero-20', 'trystero-22', 'trystero-25']

export function appCases (suite, { lab, browser }) {
  for (const app of apps) {
    suite.add(`${app} on A meets ${app} on B`, async figures => {
      const room = randomBytes(20).toString('hex')
      const [one, two] = [await browser.page(app), await browser.page(app)]
      try {
        const results = await within(60_000, 'meeting', Promise.all([
          one.call('meet', [lab.a.url], room, 'from A'),
          two.call('meet', [lab.b.url], room, 'from B')
        ]))
        assert.deepEqual(results.map(r => r.heard), ['from B', 'from A'])
        figures['met ms'] = Math.max(...results.map(r => r.ms))
      } finally {
        await one.close()
        await two.close()
      }
    })
  }

  suite.add('p2p-media-loader on A meets p2p-media-loader on B', async figures => {
    const swarm = randomBytes(20).toString('hex')
    const [one, two] = [await browser.page('p2p-media-loader'), await browser.page('p2p-media-loader')]
    try {
      await one.call('load', [lab.a.url], swarm, 0)
      await two.call('load', [lab.b.url], swarm, 0)
      const results = await within(60_000, 'meeting', Promise.all([one.call('met'), two.call('met')]))
      for (const { bytes } of results) assert.equal(bytes, 100_000)
      figures['met ms'] = Math.max(...results.map(r => r.ms))
    } finally {
      await one.close()
      await two.close()
    }
  })
}
