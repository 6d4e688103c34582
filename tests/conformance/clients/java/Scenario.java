import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The scenario (see ../../README.md) with Kafka's own Java client: Scenario BOOTSTRAP classic|consumer. */
public final class Scenario {
    private static final int PARTITIONS = 3;
    private static final int RECORDS_PER_CODEC = 12;
    private static final long START_MS = 1_700_000_000_000L;
    private static final Duration WAIT = Duration.ofSeconds(30);
    private static final Duration POLL = Duration.ofMillis(300);
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final List<Integer> EVERYTHING = IntStream.range(0, PARTITIONS).boxed().toList();

    private final String bootstrap;
    private final String protocol;
    private final String topic;
    private final String group;
    private final Admin admin;

    private Scenario(String bootstrap, String protocol) {
        this.bootstrap = bootstrap;
        this.protocol = protocol;
        this.topic = "java-" + protocol;
        this.group = topic + "-group";
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] args) throws Exception {
        new Scenario(args[0], args[1]).play();
    }

    private void play() throws Exception {
        say("create: " + code(create(Map.of("retention.ms", "-1"))));
        say("create again: " + code(create(Map.of())));
        await("the topic is there", () -> get(admin.listTopics().names()).contains(topic));
        say("partitions: " + get(admin.describeTopics(List.of(topic)).topicNameValues().get(topic)).partitions().size());
        for (int number = 0; number < CODECS.size(); number++) {
            produce(CODECS.get(number), CODECS.get(number), number);
        }
        say("offsets earliest: " + offsets(OffsetSpec.earliest()));
        say("offsets latest: " + offsets(OffsetSpec.latest()));
        for (long at : new long[] {START_MS + 17_500, START_MS + 3_600_000}) {
            say("offsets " + at + ": " + offsets(OffsetSpec.forTimestamp(at)));
        }

        consumeAndCommit(CODECS.size() * RECORDS_PER_CODEC);
        say("committed: " + committed());
        sayGroup();

        produce("none", "more", CODECS.size());
        consumeAndCommit(RECORDS_PER_CODEC);
        say("resumed and committed: " + committed());

        rebalance();
        say("delete group: " + code(admin.deleteConsumerGroups(List.of(group)).all()));
        say("delete topic: " + code(admin.deleteTopics(List.of(topic)).all()));
        await("the topic is gone", () -> !get(admin.listTopics().names()).contains(topic));
        say("done");
        admin.close();
    }

    private KafkaFuture<Void> create(Map<String, String> configs) {
        return admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1).configs(configs))).all();
    }

    private void produce(String codec, String word, int number) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "compression.type", codec, "linger.ms", 50);
        var sent = new ArrayList<java.util.concurrent.Future<RecordMetadata>>();
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int n = 0; n < RECORDS_PER_CODEC; n++) {
                String key = n % 4 == 3 ? null : "key-" + n;
                String value = n % 5 == 4 ? null : n == 0 ? "" : word + " " + n + " " + "abcdefghij".repeat(8);
                var headers = new ArrayList<Header>();
                if (n % 2 == 0) {
                    headers.add(new RecordHeader("codec", bytes(word)));
                    headers.add(new RecordHeader("n", bytes("" + n)));
                    headers.add(new RecordHeader("n", bytes("again")));
                    headers.add(new RecordHeader("empty", bytes("")));
                }
                if (n % 6 == 0) {
                    headers.add(new RecordHeader("null", (byte[]) null));
                }
                long timestamp = START_MS + 1000L * (number * RECORDS_PER_CODEC + n);
                sent.add(producer.send(new ProducerRecord<>(topic, n % PARTITIONS, timestamp, bytes(key), bytes(value), headers)));
            }
        }
        for (var future : sent) {
            future.get();
        }
    }

    private String offsets(OffsetSpec spec) {
        var asked = EVERYTHING.stream().collect(Collectors.toMap(p -> new TopicPartition(topic, p), p -> spec));
        var found = get(admin.listOffsets(asked).all());
        return byPartition(p -> found.get(new TopicPartition(topic, p)).offset());
    }

    private String committed() {
        var found = get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        return byPartition(p -> found.get(new TopicPartition(topic, p)).offset());
    }

    private void sayGroup() {
        var found = get(admin.describeConsumerGroups(List.of(group)).describedGroups().get(group));
        say("group: " + found.groupState() + " " + found.members().size());
    }

    private KafkaConsumer<byte[], byte[]> join() {
        var settings = new LinkedHashMap<String, Object>(Map.of(
                "bootstrap.servers", bootstrap, "group.id", group, "group.protocol", protocol,
                "auto.offset.reset", "earliest", "enable.auto.commit", false));
        if (protocol.equals("classic")) { // else the broker's business
            settings.putAll(Map.of("session.timeout.ms", 10_000, "heartbeat.interval.ms", 500));
        }
        var member = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        member.subscribe(List.of(topic));
        return member;
    }

    /** Reads count records in a member of its own, and would notice more. */
    private void consumeAndCommit(int count) {
        try (var member = join()) {
            var found = new ArrayList<ConsumerRecord<byte[], byte[]>>();
            await(count + " records come", () -> {
                member.poll(POLL).forEach(found::add);
                return found.size() >= count;
            });
            member.poll(POLL).forEach(found::add);
            found.sort(Comparator.<ConsumerRecord<byte[], byte[]>>comparingInt(ConsumerRecord::partition)
                    .thenComparingLong(ConsumerRecord::offset));
            for (var record : found) {
                var headers = Stream.of(record.headers().toArray()).map(h -> h.key() + "=" + text(h.value()));
                say("record " + record.partition() + "/" + record.offset() + " " + record.timestamp() + " " + text(record.key())
                        + " " + text(record.value()) + " [" + headers.collect(Collectors.joining(" ")) + "]");
            }
            member.commitSync();
        }
    }

    private void rebalance() {
        try (var first = join()) {
            await("the first member gets every partition", () -> assignment(first).equals(EVERYTHING), first);
            say("rebalance: one member has " + list(assignment(first)));
            try (var second = join()) {
                await("both members get partitions", () -> !assignment(first).isEmpty() && !assignment(second).isEmpty()
                        && together(first, second).equals(EVERYTHING), first, second);
                var sizes = Stream.of(first, second).map(member -> assignment(member).size()).sorted().toList();
                say("rebalance: two members have " + list(sizes) + " together " + list(together(first, second)));
                sayGroup();
            }
            await("the first member gets every partition back", () -> assignment(first).equals(EVERYTHING), first);
            say("rebalance: one left, the other has " + list(assignment(first)));
        }
        sayGroup();
    }

    private static List<Integer> assignment(KafkaConsumer<?, ?> member) {
        return member.assignment().stream().map(TopicPartition::partition).sorted().toList();
    }

    private static List<Integer> together(KafkaConsumer<?, ?> first, KafkaConsumer<?, ?> second) {
        return Stream.of(first, second).flatMap(member -> assignment(member).stream()).sorted().toList();
    }

    /** Polls the members until the condition holds. */
    private static void await(String what, BooleanSupplier condition, KafkaConsumer<?, ?>... members) {
        long end = System.nanoTime() + WAIT.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("timed out: " + what);
            }
            for (var member : members) {
                member.poll(POLL);
            }
        }
    }

    private static int code(KafkaFuture<?> future) throws InterruptedException {
        try {
            future.get();
            return 0;
        } catch (ExecutionException failed) {
            return Errors.forException(failed.getCause()).code();
        }
    }

    private static <T> T get(KafkaFuture<T> future) {
        try {
            return future.get();
        } catch (InterruptedException | ExecutionException failed) {
            throw new IllegalStateException(failed);
        }
    }

    private static String byPartition(Function<Integer, Long> offset) {
        return list(EVERYTHING.stream().map(offset).toList());
    }

    private static String list(List<?> all) {
        return all.stream().map(String::valueOf).collect(Collectors.joining(" "));
    }

    private static byte[] bytes(String text) {
        return Optional.ofNullable(text).map(String::getBytes).orElse(null);
    }

    private static String text(byte[] data) {
        return data == null ? "null" : "\"" + new String(data) + "\"";
    }

    private static void say(String line) {
        System.out.println(line);
    }
}
