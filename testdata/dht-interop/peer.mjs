// One bittorrent-dht node, driven by lines of JSON: a request on standard
// input, its result on standard output. It ends when its input does.
//
//   node peer.mjs LISTEN_HOST [BOOTSTRAP_HOST:PORT ...]
import crypto from 'node:crypto'
import readline from 'node:readline'
import { Client as DHT } from 'bittorrent-dht'

const [host, ...bootstrap] = process.argv.slice(2)

// DER headers that make node:crypto take raw ed25519 keys.
const publicHeader = Buffer.from('302a300506032b6570032100', 'hex')
const privateHeader = Buffer.from('302e020100300506032b657004220420', 'hex')

function verify (sig, message, key) {
  const k = crypto.createPublicKey({ key: Buffer.concat([publicHeader, key]), format: 'der', type: 'spki' })
  return crypto.verify(null, message, k, sig)
}

function signer (seed) {
  const k = crypto.createPrivateKey({ key: Buffer.concat([privateHeader, seed]), format: 'der', type: 'pkcs8' })
  return message => crypto.sign(null, message, k)
}

const dht = new DHT({ bootstrap: bootstrap.length > 0 ? bootstrap : false, host, verify })
dht.on('error', err => { throw err })

const ops = {
  address: () => ({ addr: `${host}:${dht.address().port}` }),
  nodes: () => ({ count: dht.nodes.toArray().length }),

  addNode ({ addr }) {
    const [host, port] = addr.split(':')
    dht.addNode({ host, port: Number(port) })
    return {}
  },

  announce: ({ hash }) => new Promise((resolve, reject) => {
    dht.announce(hash, 0, (err, count) => err ? reject(err) : resolve({ count }))
  }),

  lookup: ({ hash }) => new Promise((resolve, reject) => {
    const peers = new Set()
    const onpeer = (peer, infoHash) => {
      if (infoHash.toString('hex') === hash) peers.add(`${peer.host}:${peer.port}`)
    }
    dht.on('peer', onpeer)
    dht.lookup(hash, err => {
      dht.off('peer', onpeer)
      if (err) reject(err)
      else resolve({ peers: [...peers].sort() })
    })
  }),

  // value is the text in the dictionary {t: text}, so that both ends have the
  // same bencoding.
  put: ({ seed, key, salt, seq, cas, text }) => new Promise((resolve, reject) => {
    const opts = { v: { t: text }, k: Buffer.from(key, 'hex'), salt: Buffer.from(salt), seq, sign: signer(Buffer.from(seed, 'hex')) }
    if (cas !== undefined) opts.cas = cas
    dht.put(opts, (err, hash, count) => err ? reject(err) : resolve({ count }))
  }),

  get: ({ key, salt }) => new Promise((resolve, reject) => {
    const target = crypto.createHash('sha1').update(Buffer.from(key, 'hex')).update(salt).digest()
    dht.get(target, { salt, cache: false }, (err, value) => {
      if (err) reject(err)
      else resolve(value ? { found: true, seq: value.seq, text: value.v.t.toString() } : { found: false })
    })
  })
}

dht.listen(0, host, () => {
  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', async line => {
    const request = JSON.parse(line)
    let result
    try {
      result = await ops[request.op](request)
    } catch (err) {
      result = { error: String(err.message), code: err.code }
    }
    process.stdout.write(JSON.stringify(result) + '\n')
  })
  lines.on('close', () => dht.destroy(() => process.exit(0)))
})
