// A file seeded in one browser downloads in another.

import assert from 'node:assert/strict'
import { sleep, within } from '../lib/suite.js'
import * as labs from '../lib/lab.js'

const SIZE = 5_000_000

export function transferCases (suite, { lab, browser, binary }) {
  suite.add('browser to browser, one node', async figures => {
    await transfer({ browser, from: lab.a, to: lab.a, figures })
  })
  suite.add('browser on A to browser on B', async figures => {
    await transfer({ browser, from: lab.a, to: lab.b, figures })
  })
  suite.add('browser on B to browser on A', async figures => {
    await transfer({ browser, from: lab.b, to: lab.a, figures })
  })
  if (!binary) return
  // Proof that the cases above can fail: the same transfer between nodes that
  // do not federate. It takes a second or two where it works.
  suite.add('browser on A to browser on B does not work without federation', async () => {
    const apart = await labs.federated({ binary, flags: ['--no-federation'] })
    try {
      const done = transfer({ browser, from: apart.a, to: apart.b, figures: {} })
      done.catch(() => {})
      const first = await Promise.race([done.then(() => 'done'), sleep(15_000).then(() => 'nothing')])
      assert.equal(first, 'nothing')
    } finally {
      await apart.close()
    }
  })
}

async function transfer ({ browser, from, to, figures }) {
  const seeder = await browser.page('webtorrent')
  const leecher = await browser.page('webtorrent')
  try {
    const seeded = await seeder.call('seed', [from.url], SIZE)
    const got = await within(60_000, 'download', leecher.call('leech', seeded.infoHash, [to.url]))
    Object.assign(figures, { 'first peer ms': got.firstPeerMs, 'done ms': got.doneMs })
    assert.equal(got.length, seeded.length)
    assert.equal(got.sha256, seeded.sha256)
    assert.ok(got.wires.length > 0)
    for (const type of got.wires) assert.equal(type, 'webrtc')
  } finally {
    await seeder.close()
    await leecher.close()
  }
}
