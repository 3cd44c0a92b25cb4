// Child processes that end with the harness, whatever happens to it.

import { spawn } from 'node:child_process'
import net from 'node:net'
import dgram from 'node:dgram'

const running = new Set()

// start runs a program and keeps the last of what it said for the report of a
// failure.
export function start (command, args, { env = {}, label = command } = {}) {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe']
  })
  const lines = []
  const watchers = new Set()
  let rest = ''
  const take = chunk => {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop()
    for (const line of parts) {
      lines.push(line)
      if (lines.length > 500) lines.shift()
      if (process.env.E2E_VERBOSE) console.log(`[${label}] ${line}`)
      for (const watch of watchers) watch(line)
    }
  }
  child.stdout.setEncoding('utf8').on('data', take)
  child.stderr.setEncoding('utf8').on('data', take)
  running.add(child)
  const exited = new Promise(resolve => {
    child.once('error', err => { running.delete(child); resolve({ err }) })
    child.once('exit', (code, signal) => { running.delete(child); resolve({ code, signal }) })
  })
  return {
    child,
    exited,
    lines,
    // line resolves with the first line, past or to come, that matches.
    line (pattern) {
      const seen = lines.find(l => pattern.test(l))
      if (seen) return Promise.resolve(seen)
      return new Promise((resolve, reject) => {
        const watch = l => {
          if (!pattern.test(l)) return
          watchers.delete(watch)
          resolve(l)
        }
        watchers.add(watch)
        exited.then(end => reject(new Error(`${label} ended (${JSON.stringify(end)}) before it said ${pattern}:\n${lines.slice(-20).join('\n')}`)))
      })
    },
    async stop (signal = 'SIGTERM') {
      child.kill(signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000)
      const end = await exited
      clearTimeout(timer)
      return end
    }
  }
}

export function killAll () {
  for (const child of running) child.kill('SIGKILL')
}

// freePort finds a port of 127.0.0.1 that is free for TCP and for UDP.
export async function freePort () {
  for (;;) {
    const tcp = net.createServer()
    await new Promise((resolve, reject) => tcp.once('error', reject).listen(0, '127.0.0.1', resolve))
    const { port } = tcp.address()
    const udp = dgram.createSocket('udp4')
    const ok = await new Promise(resolve => udp.once('error', () => resolve(false)).bind(port, '127.0.0.1', () => resolve(true)))
    await new Promise(resolve => tcp.close(resolve))
    if (!ok) continue
    await new Promise(resolve => udp.close(resolve))
    return port
  }
}
