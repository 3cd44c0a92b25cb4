// Pages are bundled for the browser, as their users would: only webtorrent
// publishes a bundle that stands alone.

import fs from 'node:fs'
import path from 'node:path'
import esbuild from 'esbuild'

const root = path.dirname(import.meta.dirname)

// bundle returns the scripts of pages/ by the path under which they are served.
export async function bundle () {
  const pages = fs.readdirSync(path.join(root, 'pages')).filter(f => f.endsWith('.js') && f !== 'shims.js')
  const built = await esbuild.build({
    absWorkingDir: root,
    entryPoints: pages.map(f => path.join('pages', f)),
    outdir: '/',
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'chrome110',
    logLevel: 'error',
    external: ['/webtorrent.min.js'],
    define: { global: 'globalThis' },
    inject: ['pages/shims.js'],
    plugins: [nodeNames]
  })
  return new Map(built.outputFiles.map(f => [f.path, Buffer.from(f.contents)]))
}

// nodeNames maps the Node modules that the clients' browser builds expect from
// a bundler to the packages that bundlers use for them.
const nodeNames = {
  name: 'node-names',
  setup (build) {
    const to = name => path.join(root, 'node_modules', name)
    build.onResolve({ filter: /^(node:)?events$/ }, () => build.resolve('events/', { kind: 'import-statement', resolveDir: root }))
    build.onResolve({ filter: /^(node:)?stream$/ }, () => build.resolve(to('readable-stream/readable-browser.js'), { kind: 'import-statement', resolveDir: root }))
    build.onResolve({ filter: /^(node:)?(url|util|crypto|http|https|net|dgram|dns|zlib|tls|querystring)$/ }, args => ({ path: args.path, namespace: 'absent' }))
    build.onLoad({ filter: /.*/, namespace: 'absent' }, () => ({ contents: 'module.exports = {}' }))
  }
}
