// A list of cases run one after the other: they share the nodes of a lab and
// two cores, and a case that fails should be the only thing on the screen.

const CASE_TIMEOUT_MS = 120_000

export class Suite {
  #cases = []

  add (name, run) {
    this.#cases.push({ name, run })
  }

  async run ({ only = '', out = console.log } = {}) {
    let passed = 0
    let failed = 0
    for (const { name, run } of this.#cases) {
      if (!name.includes(only)) continue
      const started = Date.now()
      const figures = {}
      try {
        await within(CASE_TIMEOUT_MS, name, run(figures))
        passed++
        out(`ok    ${name} (${Date.now() - started} ms)${format(figures)}`)
      } catch (err) {
        failed++
        out(`FAIL  ${name} (${Date.now() - started} ms)${format(figures)}`)
        out(indent(err?.stack ?? String(err)))
      }
    }
    return { passed, failed }
  }
}

// within fails with a message that says what took too long.
export async function within (ms, what, promise) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

// eventually asks again until check returns something truthy, and returns it.
export async function eventually (what, check, ms = 30_000) {
  const end = Date.now() + ms
  for (;;) {
    const got = await check()
    if (got) return got
    if (Date.now() > end) throw new Error(`${what}: not after ${ms} ms`)
    await sleep(50)
  }
}

export function sleep (ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}

function format (figures) {
  const parts = Object.entries(figures).map(([k, v]) => `${k} ${v}`)
  return parts.length ? '  ' + parts.join(', ') : ''
}

function indent (text) {
  return text.replace(/^/gm, '      ')
}
