// Every app page has one function, meet, that joins a room named by the case
// and resolves when another page's words have arrived over WebRTC.

// meeting hands join the two things that it must do: to speak once it has a
// peer, and to report what it hears.
export function meeting (join) {
  globalThis.e2e = {
    async meet (trackers, room, words) {
      const started = performance.now()
      const heard = await new Promise((resolve, reject) => join({ trackers, room, words, resolve, reject }))
      return { heard, ms: Math.round(performance.now() - started) }
    }
  }
  globalThis.ready = true
}

// ice is empty, or each connection waits for STUN servers out of reach.
export const ice = { iceServers: [] }

// until repeats a message, since the other side may be listening later than
// the channel opens.
export function repeat (send) {
  send()
  return setInterval(send, 200)
}
