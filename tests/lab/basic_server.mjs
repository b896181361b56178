// A `basic` server in another language:  node tests/basic_server.mjs 7777
import net from 'node:net'

const LIMIT = 65536
const topics = new Map() // from a topic, as it is spelled, to its subscribers
const HTTP = /^[A-Z]+ \S+ HTTP\// // a browser, perhaps for a page of somebody else's
const TOKEN = /\s*(?:([{}[\](),:])|(b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*")|([-+]?\d[\d.]*(?:e[-+]?\d+)?j?(?:[-+][\d.]+j)?|None|True|False))/y

// Reads a Python literal; of dicts it gives the entries, of anything else the spelling.
function parse(text) {
  TOKEN.lastIndex = 0
  const next = () => TOKEN.exec(text) ?? fail('not a Python literal')
  function value([, mark, string, atom], depth = 0) {
    if (string ?? atom) return /^[-+\d]/.test(atom) && !isFinite(parseFloat(atom)) ? fail('not finite') : string ?? atom
    const end = { '{': '}', '[': ']', '(': ')' }[mark]
    if (!end || depth > 99) fail('not a Python literal')
    const dict = {}
    for (let token = next(); token[1] !== end; token = token[1] === ',' ? next() : token) {
      const key = value(token, depth + 1)
      token = next()
      if (end === '}' && token[1] === ':') {
        if (typeof key !== 'string') fail('not a dict literal')
        dict[key] = value(next(), depth + 1)
        token = next()
      }
      if (token[1] !== ',' && token[1] !== end) fail('not a Python literal')
      if (token[1] === end) break
    }
    return end === '}' ? dict : [text]
  }
  const result = value(next())
  return TOKEN.lastIndex === text.length && !Array.isArray(result) ? result : fail('not a dict literal')
}

function fail(problem) {
  throw new Error(problem)
}

function handle(bytes, socket) {
  if (bytes.length > LIMIT) fail('line too long')
  const line = new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim()
  const { "'command'": command, "'topic'": topic, "'msg'": msg } = parse(line)
  if (!["'subscribe'", "'send'"].includes(command)) fail(`command must be subscribe or send: got ${command}`)
  if (!/^['"]/.test(topic)) fail('topic must be a string')
  if (command === "'send'" && msg === undefined) fail('msg is missing')
  if (command === "'subscribe'") topics.set(topic, (topics.get(topic) ?? new Set()).add(socket))
  else for (const subscriber of topics.get(topic) ?? []) if (subscriber.writable) subscriber.write(line + '\n')
}

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  let rest = Buffer.alloc(0)
  function take(bytes) {
    if (bytes.toString().trim() === 'quit' || HTTP.test(bytes)) return socket.end()
    if (socket.writableEnded || (bytes.length <= LIMIT && !bytes.toString().trim())) return
    try {
      handle(bytes, socket)
    } catch (problem) {
      socket.write(`{'error': '${problem.message.replace(/[^\w ]/g, ' ')}'}\n`)
    }
  }
  socket.on('data', (chunk) => {
    for (let end; (end = chunk.indexOf(10)) >= 0; chunk = chunk.subarray(end + 1), rest = Buffer.alloc(0))
      take(Buffer.concat([rest, chunk.subarray(0, end)]))
    rest = Buffer.concat([rest, chunk]).subarray(0, LIMIT + 1) // of a line that is too long, enough to see that
  })
  socket.on('end', () => (take(rest), socket.end()))
  socket.on('error', () => {}) // it is gone: writable says so
})
server.on('error', (problem) => (console.error(`basic_server: ${problem.message}`), process.exit(2)))
server.listen(Number(process.argv[2] ?? 7777), '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`))
