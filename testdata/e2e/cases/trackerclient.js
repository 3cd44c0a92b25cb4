// The reference client's scrape, and its survival of every fault that a frame
// of its own can provoke.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { eventually } from '../lib/suite.js'

export function trackerClientCases (suite, { lab, browser }) {
  for (const version of ['tracker-9', 'tracker-11']) {
    suite.add(`${version} scrapes two info hashes`, async () => {
      const page = await browser.page(version)
      try {
        const [known, unknown] = [randomBytes(20).toString('hex'), randomBytes(20).toString('hex')]
        await page.call('open', lab.a.url, known)
        await eventually('the first reply', async () => (await page.call('state')).updates > 0)
        const results = await page.call('scrape', lab.a.url, [known, unknown])
        const counts = hash => (({ complete, incomplete }) => ({ complete, incomplete }))(results[hash])
        assert.deepEqual(counts(known), { complete: 0, incomplete: 1 })
        assert.deepEqual(counts(unknown), { complete: 0, incomplete: 0 })
        assert.equal(typeof results[known].downloaded, 'number')
      } finally {
        await page.close()
      }
    })

    suite.add(`${version} survives every failure frame`, async figures => {
      const page = await browser.page(version)
      try {
        const hash = randomBytes(20)
        await page.call('open', lab.a.url, hash.toString('hex'))
        await eventually('the first reply', async () => (await page.call('state')).updates > 0)
        for (const frame of faults(hash.toString('latin1'))) {
          await page.call('inject', frame)
          const before = (await page.call('state')).updates
          await page.call('update')
          await eventually(`a reply after ${frame.slice(0, 60)}`, async () => {
            const state = await page.call('state')
            assert.ok(state.alive, `the socket did not survive ${frame.slice(0, 60)}: ${state.warnings.at(-1)}`)
            return state.updates > before
          })
        }
        figures['failure frames'] = failures(page.frames).length
        for (const failure of failures(page.frames)) {
          assert.ok(['announce', 'scrape'].includes(failure.action), JSON.stringify(failure))
          assert.equal(typeof failure.info_hash, 'string', JSON.stringify(failure))
        }
      } finally {
        await page.close()
      }
    })
  }
}

function failures (frames) {
  return frames.map(f => JSON.parse(f.data)).filter(f => f['failure reason'] !== undefined)
}

// faults are at most as many unparsable frames as a client may send within a
// minute, and any number of others.
function faults (hash) {
  const peer = 'x'.repeat(20)
  const json = value => JSON.stringify(value)
  return [
    'garbage', 'null', '[]', '5', '""', '{',
    json({}),
    json({ action: 'nonsense' }),
    json({ action: 5, info_hash: hash }),
    json({ action: 'announce' }),
    json({ action: 'announce', info_hash: hash }),
    json({ action: 'announce', info_hash: hash, peer_id: 5 }),
    json({ action: 'announce', info_hash: hash, peer_id: '' }),
    json({ action: 'announce', info_hash: '', peer_id: peer }),
    json({ action: 'announce', info_hash: 5, peer_id: peer }),
    json({ action: 'announce', info_hash: 'h'.repeat(500), peer_id: peer }),
    json({ action: 'announce', info_hash: hash, peer_id: 'p'.repeat(500) }),
    json({ action: 'announce', info_hash: hash, peer_id: peer, answer: {}, to_peer_id: peer, offer_id: peer }),
    json({ action: 'scrape', info_hash: 5 }),
    json({ action: 'scrape', info_hash: {} }),
    json({ action: 'scrape' }),
    json({ action: 'scrape', info_hash: [5] })
  ]
}
