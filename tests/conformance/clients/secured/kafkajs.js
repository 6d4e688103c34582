// KafkaJS by SCRAM and PLAIN over TLS: node kafkajs.js BOOTSTRAP CA-FILE TOPIC, with NODE_PATH at the installed modules.
'use strict'

const fs = require('fs')
const { Kafka, logLevel } = require('kafkajs')

const [, , bootstrap, authority, topic] = process.argv
const records = 3
const logins = [
  ['scram-sha-512', 'bob', 'c=secret'],
  ['scram-sha-256', 'bob', 'c=secret'],
  ['plain', 'alice', 'b-secret'],
  ['scram-sha-512', 'bob', 'wrong'],
  ['plain', 'alice', 'wrong'],
]

async function play(mechanism, username, password) {
  const kafka = new Kafka({
    brokers: [bootstrap],
    ssl: { ca: [fs.readFileSync(authority, 'utf8')], servername: 'localhost' },
    sasl: { mechanism, username, password },
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
  })
  const producer = kafka.producer()
  try {
    await producer.connect()
  } catch (error) {
    return `is refused: ${error.message}`
  }
  const messages = [...Array(records).keys()].map(n => ({ partition: 0, value: `kafkajs ${mechanism} ${n}` }))
  await producer.send({ topic, messages })
  await producer.disconnect()
  const consumer = kafka.consumer({ groupId: `secured-${mechanism}`, retry: { retries: 5 } })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  let read = 0
  await new Promise((resolve, reject) => {
    setTimeout(reject, 30_000, new Error('timed out: reading')).unref()
    consumer.run({ eachMessage: async () => ++read >= records && resolve() }).catch(reject)
  })
  await consumer.disconnect()
  const admin = kafka.admin()
  await admin.connect()
  const refused = await admin.createTopics({ topics: [{ topic: 'forbidden' }] }).then(() => 'made it', error => (error.errors ?? [error]).map(e => e.type))
  await admin.disconnect()
  return `writes and reads; may not create: ${refused}`
}

async function main() {
  for (const login of logins) console.log(...login, await play(...login))
}

main().then(() => process.exit(0), error => { console.error(error); process.exit(1) })
