// anacrolix/torrent and browsers, in both directions.

import assert from 'node:assert/strict'
import { goClient } from '../lib/goclient.js'
import { within } from '../lib/suite.js'

const SIZE = 5_000_000

export function goClientCases (suite, { lab, browser, goClient: binary }) {
  if (!binary) return
  suite.add('Go on A to browser on B', async figures => {
    const seeder = goClient(binary, 'seed', [lab.a.url], '-size', String(SIZE))
    const leecher = await browser.page('webtorrent')
    try {
      const seeded = await seeder.result
      check(seeded, await within(60_000, 'download', leecher.call('leech', seeded.infoHash, [lab.b.url])), figures)
    } finally {
      await seeder.close()
      await leecher.close()
    }
  })

  suite.add('browser on A to Go on B', async figures => {
    const seeder = await browser.page('webtorrent')
    const seeded = await seeder.call('seed', [lab.a.url], SIZE)
    const leecher = goClient(binary, 'leech', [lab.b.url], '-infohash', seeded.infoHash)
    try {
      check(seeded, await within(60_000, 'download', leecher.result), figures)
    } finally {
      await seeder.close()
      await leecher.close()
    }
  })

  suite.add('Go on A to Go on B', async figures => {
    const seeder = goClient(binary, 'seed', [lab.a.url], '-size', String(SIZE))
    const seeded = await seeder.result
    const leecher = goClient(binary, 'leech', [lab.b.url], '-infohash', seeded.infoHash)
    try {
      check(seeded, await within(60_000, 'download', leecher.result), figures)
    } finally {
      await seeder.close()
      await leecher.close()
    }
  })
}

function check (seeded, got, figures) {
  Object.assign(figures, { 'first peer ms': got.firstPeerMs, 'done ms': got.doneMs })
  assert.equal(got.length, seeded.length)
  assert.equal(got.sha256, seeded.sha256)
  assert.ok(got.wires.length > 0)
  for (const type of got.wires) assert.equal(type, 'webrtc')
}
