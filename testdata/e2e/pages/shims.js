// What bundlers of the older clients put in for Node's globals.
import { Buffer } from 'buffer'

const process = { env: {}, browser: true, nextTick: (fn, ...args) => queueMicrotask(() => fn(...args)), emitWarning () {} }

export { Buffer, process }
