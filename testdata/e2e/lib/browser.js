// Chromium, its pages and the local web server that they come from.

import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { chromium } from 'playwright-core'

const root = path.dirname(import.meta.dirname)

// Without WebRtcHideLocalIpsWithMdns off, host candidates are mDNS names that
// other processes cannot resolve.
const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-features=WebRtcHideLocalIpsWithMdns'
]

export class Browser {
  #browser
  #server
  #origin

  static async launch (bundles) {
    const self = new Browser()
    self.#server = http.createServer((req, res) => serve(bundles, req, res))
    await new Promise(resolve => self.#server.listen(0, '127.0.0.1', resolve))
    self.#origin = `http://127.0.0.1:${self.#server.address().port}`
    self.#browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: flags
    })
    return self
  }

  // page opens pages/NAME.js in a browser context of its own, as another
  // person's browser would be.
  async page (name) {
    const context = await this.#browser.newContext()
    const page = await context.newPage()
    const said = []
    page.on('console', m => said.push(`${m.type()}: ${m.text()}`))
    page.on('pageerror', err => said.push(`error: ${err.stack}`))
    const frames = []
    page.on('websocket', socket => {
      socket.on('framereceived', f => frames.push({ url: socket.url(), data: f.payload }))
    })
    await page.goto(`${this.#origin}/${name}.html`)
    await page.waitForFunction(() => globalThis.ready === true)
    return {
      frames,
      origin: this.#origin,
      call: async (fn, ...args) => {
        try {
          return await page.evaluate(([fn, args]) => globalThis.e2e[fn](...args), [fn, args])
        } catch (err) {
          throw new Error(`${name}.${fn}: ${err.message}\n${said.slice(-10).join('\n')}`)
        }
      },
      close: () => context.close()
    }
  }

  async close () {
    await this.#browser.close()
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

function serve (bundles, req, res) {
  const { pathname } = new URL(req.url, 'http://localhost')
  const send = (type, body) => {
    res.writeHead(200, { 'content-type': type, 'access-control-allow-origin': '*' })
    res.end(body)
  }
  const page = /^\/([\w-]+)\.html$/.exec(pathname)
  if (page) {
    return send('text/html', `<!doctype html><meta charset=utf-8><title>${page[1]}</title><script type=module src="/${page[1]}.js"></script>`)
  }
  if (pathname === '/webtorrent.min.js') {
    // As published, not rebuilt.
    return send('text/javascript', fs.readFileSync(path.join(root, 'node_modules/webtorrent/dist/webtorrent.min.js')))
  }
  if (pathname.startsWith('/segment/')) {
    return send('application/octet-stream', Buffer.alloc(100_000, pathname))
  }
  const bundle = bundles.get(pathname)
  if (bundle) return send('text/javascript', bundle)
  res.writeHead(404).end()
}
