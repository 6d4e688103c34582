// The scenario (see ../../README.md) with KafkaJS: node scenario.js BOOTSTRAP, with NODE_PATH at the installed modules.
'use strict'

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs')
const lz4 = require('lz4-napi')
const snappy = require('kafkajs-snappy')
const zstd = require('@bokuweb/zstd-wasm')

const [, , bootstrap] = process.argv
const topic = 'kafkajs'
const group = `${topic}-group`
const partitions = 3
const recordsPerCodec = 12
const startMs = 1_700_000_000_000
const waitMs = 30_000
const everything = [0, 1, 2]
const codecs = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const kafka = new Kafka({ clientId: 'conformance', brokers: [bootstrap], logLevel: logLevel.NOTHING })
const admin = kafka.admin()

const say = (...words) => console.log(...words)
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const text = data => (data === null || data === undefined ? 'null' : `"${data}"`)

async function until(what, condition) {
  for (const end = Date.now() + waitMs; !(await condition()); await pause(50)) {
    if (Date.now() > end) throw new Error(`timed out: ${what}`)
  }
}

// createTopics answers false for a topic that exists, and throws for the rest.
const create = async configEntries =>
  (await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] })) ? 0 : 36

async function produce(codec, word, number) {
  const messages = []
  for (let n = 0; n < recordsPerCodec; n++) {
    messages.push({
      partition: n % partitions,
      timestamp: `${startMs + 1000 * (number * recordsPerCodec + n)}`,
      key: n % 4 === 3 ? null : `key-${n}`,
      value: n % 5 === 4 ? null : n === 0 ? '' : `${word} ${n} ${'abcdefghij'.repeat(8)}`,
      headers: n % 2 === 0 ? { codec: word, n: [`${n}`, 'again'], empty: '' } : {}, // it cannot send a null one
    })
  }
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  await producer.send({ topic, acks: -1, compression: CompressionTypes[codecs[codec]], messages })
  await producer.disconnect()
}

const byPartition = found => found.sort((a, b) => a.partition - b.partition).map(({ offset }) => offset).join(' ')

async function committed() {
  const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  return byPartition(found.partitions)
}

async function sayGroup() {
  const { groups: [found] } = await admin.describeGroups([group])
  say('group:', found.state, found.members.length)
}

// A member runs in the background; what it gets is kept in `records` and `assignment`.
async function join() {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 10_000, heartbeatInterval: 500, maxWaitTimeInMs: 100 })
  const member = { consumer, records: [], assignment: [] }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { member.assignment = (payload.memberAssignment[topic] || []).sort() })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => { member.records.push({ partition, ...message }) },
  })
  return member
}

// Reads count records in a member of its own, and would notice more.
async function consumeAndCommit(count) {
  const { consumer, records } = await join()
  await until(`${count} records come`, () => records.length >= count)
  await pause(300)
  const next = everything.map(() => '')
  for (const record of records.sort((a, b) => a.partition - b.partition || a.offset - b.offset)) {
    const headers = Object.entries(record.headers).flatMap(([name, values]) =>
      [values].flat().map(value => `${name}=${text(value)}`))
    say(`record ${record.partition}/${record.offset} ${record.timestamp} ${text(record.key)} ${text(record.value)} [${headers.join(' ')}]`)
    next[record.partition] = `${BigInt(record.offset) + 1n}`
  }
  await consumer.commitOffsets(next.map((offset, partition) => ({ topic, partition, offset })))
  await consumer.disconnect()
}

async function rebalance() {
  const first = await join()
  await until('the first member gets every partition', () => first.assignment.join() === everything.join())
  say('rebalance: one member has', ...first.assignment)
  const second = await join()
  const together = () => [...first.assignment, ...second.assignment].sort()
  await until('both members get partitions', () =>
    first.assignment.length && second.assignment.length && together().join() === everything.join())
  say('rebalance: two members have', ...[first, second].map(({ assignment }) => assignment.length).sort(), 'together', ...together())
  await sayGroup()
  await second.consumer.disconnect()
  await until('the first member gets every partition back', () => first.assignment.join() === everything.join())
  say('rebalance: one left, the other has', ...first.assignment)
  await first.consumer.disconnect()
  await sayGroup()
}

async function play() {
  await zstd.init()
  await admin.connect()
  say('create:', await create([{ name: 'retention.ms', value: '-1' }]))
  say('create again:', await create([]))
  await until('the topic is there', async () => (await admin.listTopics()).includes(topic))
  say('partitions:', (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length)
  for (const [number, codec] of Object.keys(codecs).entries()) await produce(codec, codec, number)
  const offsets = await admin.fetchTopicOffsets(topic)
  say('offsets earliest:', byPartition(offsets.map(({ partition, low }) => ({ partition, offset: low }))))
  say('offsets latest:', byPartition(offsets.map(({ partition, high }) => ({ partition, offset: high }))))
  for (const at of [startMs + 17_500, startMs + 3_600_000]) {
    say(`offsets ${at}:`, byPartition(await admin.fetchTopicOffsetsByTimestamp(topic, at)))
  }

  await consumeAndCommit(Object.keys(codecs).length * recordsPerCodec)
  say('committed:', await committed())
  await sayGroup()
  await produce('none', 'more', Object.keys(codecs).length)
  await consumeAndCommit(recordsPerCodec)
  say('resumed and committed:', await committed())

  await rebalance()
  await admin.deleteGroups([group])
  say('delete group: 0')
  await admin.deleteTopics({ topics: [topic] })
  say('delete topic: 0')
  await until('the topic is gone', async () => !(await admin.listTopics()).includes(topic))
  say('done')
  await admin.disconnect()
}

play().catch(error => {
  console.error(error)
  process.exit(1)
})
