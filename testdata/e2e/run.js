// End-to-end tests with clients that nobody changed: see README.md.
//
//   node run.js --binary ../../bin/peerservers --go-client ../../bin/goclient
//   node run.js --reference            the same clients on npm's own tracker
//   node run.js ... --only WORDS       the cases whose name has the words
//
// E2E_VERBOSE=1 prints what the nodes say.

import { parseArgs } from 'node:util'
import { Browser } from './lib/browser.js'
import { bundle } from './lib/bundle.js'
import { killAll } from './lib/processes.js'
import { Suite } from './lib/suite.js'
import * as labs from './lib/lab.js'
import { transferCases } from './cases/transfer.js'
import { goClientCases } from './cases/goclient.js'
import { sameClientCases } from './cases/sameclient.js'
import { appCases } from './cases/apps.js'
import { trackerClientCases } from './cases/trackerclient.js'

const { values: options } = parseArgs({
  options: {
    binary: { type: 'string' },
    'go-client': { type: 'string' },
    reference: { type: 'boolean', default: false },
    only: { type: 'string', default: '' }
  }
})
if (!options.reference && !options.binary) {
  console.error('say which server to test: --binary PATH of peerservers, or --reference')
  process.exit(2)
}
process.on('exit', killAll)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

const lab = options.reference ? await labs.reference() : await labs.federated({ binary: options.binary })
const browser = await Browser.launch(await bundle())
const world = { lab, browser, binary: options.binary, goClient: options['go-client'] }

const suite = new Suite()
transferCases(suite, world)
goClientCases(suite, world)
sameClientCases(suite, world)
appCases(suite, world)
trackerClientCases(suite, world)

const { passed, failed } = await suite.run({ only: options.only })
await browser.close()
await lab.close()
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0)
