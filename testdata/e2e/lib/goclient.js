// anacrolix/torrent in a process of its own: see goclient/main.go.

import { start } from './processes.js'

// goClient runs a role and returns it with a promise of its result.
export function goClient (binary, role, trackers, ...args) {
  const proc = start(binary, [role, ...trackers.flatMap(url => ['-tracker', url]), ...args], { label: `go ${role}` })
  const result = proc.line(/^\{/).then(JSON.parse)
  result.catch(() => {})
  return { result, close: () => proc.stop() }
}
