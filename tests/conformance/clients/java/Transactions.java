import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Transactions (see ../../README.md) with Kafka's own Java client: Transactions BOOTSTRAP. */
public final class Transactions {
    private static final TopicPartition IN = new TopicPartition("txn-in", 0);
    private static final TopicPartition OUT = new TopicPartition("txn-out", 0);
    private static final Duration POLL = Duration.ofMillis(300);
    private static final long WAIT_MS = 30_000;

    private final String bootstrap;
    private final Admin admin;

    private Transactions(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] args) throws Exception {
        new Transactions(args[0]).play();
    }

    private void play() throws Exception {
        get(admin.createTopics(List.of(new NewTopic("txn-in", 1, (short) 1), new NewTopic("txn-out", 1, (short) 1))).all());
        commitsAndAborts();
        consumesTransformsAndProduces();
        fences();
        timesOut();
        lists();
        admin.close();
    }

    /** Records of a transaction are seen once it commits, and never when it aborts. */
    private void commitsAndAborts() throws Exception {
        try (var producer = producer("app", 60_000)) {
            producer.initTransactions();
            say("initialised: " + describe("app"));
            producer.beginTransaction();
            send(producer, "a", 3);
            say("open: " + describe("app") + ", " + ends() + ", " + producers());
            producer.commitTransaction();
            settle("app");
            say("committed: " + describe("app") + ", " + ends() + ", " + producers());
            producer.beginTransaction();
            send(producer, "b", 2);
            producer.abortTransaction();
            settle("app");
            say("aborted: " + describe("app") + ", " + ends() + ", " + producers());
            producer.beginTransaction();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.abortTransaction();
            say("empty ones: " + describe("app"));
        }
        say("read committed: " + read("read_committed"));
        say("read uncommitted: " + read("read_uncommitted"));
    }

    /** A group's offsets move with the records that were made of what it read, or not at all. */
    private void consumesTransformsAndProduces() throws Exception {
        try (var plain = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", bootstrap), new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < 6; i++) {
                plain.send(new ProducerRecord<>(IN.topic(), 0, null, "in-" + i)).get();
            }
        }
        try (var producer = producer("copier", 60_000); var consumer = consumer("read_committed", "copiers")) {
            producer.initTransactions();
            consumer.subscribe(List.of(IN.topic()));
            for (boolean commit : new boolean[] {false, true}) {
                var records = take(consumer, 6);
                producer.beginTransaction();
                for (var record : records) {
                    producer.send(new ProducerRecord<>(OUT.topic(), 0, null, "copy of " + record.value()));
                }
                var offsets = Map.of(IN, new OffsetAndMetadata(6, "after all"));
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                say("pending: " + offsets());
                if (commit) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                    consumer.seekToBeginning(List.of(IN));
                }
                settle("copier");
                say((commit ? "committed" : "aborted") + ": " + offsets());
            }
        }
        say("read committed: " + read("read_committed"));
    }

    /** Who initialises an id shuts out who had it; an administrator can do that too. */
    private void fences() throws Exception {
        var first = producer("fenced", 60_000);
        first.initTransactions();
        first.beginTransaction();
        send(first, "zombie", 1);
        var second = producer("fenced", 60_000);
        second.initTransactions();
        say("the first one commits: " + attempt(first::commitTransaction));
        say("and then: " + attempt(first::beginTransaction));
        second.beginTransaction();
        send(second, "second", 1);
        get(admin.fenceProducers(List.of("fenced")).all());
        say("fenced by an administrator: " + attempt(second::commitTransaction));
        settle("fenced");
        first.close();
        second.close();
        say("read committed: " + read("read_committed"));
    }

    private void timesOut() throws Exception {
        var producer = producer("late", 1_000);
        producer.initTransactions();
        producer.beginTransaction();
        send(producer, "late", 1);
        await(() -> describe("late").startsWith("CompleteAbort"));
        say("timed out: " + ends());
        say("the late one commits: " + attempt(producer::commitTransaction));
        producer.close();
        var impossible = producer("impossible", 900_001);
        say("too long a time-out: " + attempt(impossible::initTransactions));
        impossible.close();
    }

    private void lists() throws Exception {
        var producer = producer("open", 60_000);
        producer.initTransactions();
        producer.beginTransaction();
        send(producer, "open", 1);
        say("all: " + list(new ListTransactionsOptions()));
        say("ongoing: " + list(new ListTransactionsOptions().filterStates(List.of(TransactionState.ONGOING))));
        say("by pattern: " + list(new ListTransactionsOptions().filterOnTransactionalIdPattern("(app|c.*)")));
        say("by half a pattern: " + list(new ListTransactionsOptions().filterOnTransactionalIdPattern("cop")));
        say("long ones: " + list(new ListTransactionsOptions().filterOnDuration(3_600_000)));
        say("a wrong pattern: " + attempt(() -> list(new ListTransactionsOptions().filterOnTransactionalIdPattern("a(b"))));
        say("an unknown one: " + attempt(() -> describe("nobody")));
        producer.abortTransaction();
        producer.close();
    }

    private KafkaProducer<String, String> producer(String id, int timeoutMs) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "transactional.id", id, "transaction.timeout.ms", timeoutMs,
            "linger.ms", 0);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    private KafkaConsumer<String, String> consumer(String isolation, String group) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "isolation.level", isolation, "group.id", group,
            "auto.offset.reset", "earliest", "enable.auto.commit", false);
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    private static void send(KafkaProducer<String, String> producer, String name, int count) {
        for (int i = 0; i < count; i++) {
            producer.send(new ProducerRecord<>(OUT.topic(), 0, null, name + i));
        }
        producer.flush();
    }

    private static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> consumer, int count) {
        var taken = new ArrayList<ConsumerRecord<String, String>>();
        long end = System.currentTimeMillis() + WAIT_MS;
        while (taken.size() < count && System.currentTimeMillis() < end) {
            consumer.poll(POLL).forEach(taken::add);
        }
        return taken;
    }

    /** Everything in the output up to its end, as offset:value. */
    private List<String> read(String isolation) {
        try (var consumer = consumer(isolation, "reader")) {
            consumer.assign(List.of(OUT));
            consumer.seekToBeginning(List.of(OUT));
            long end = consumer.endOffsets(List.of(OUT)).get(OUT);
            var values = new ArrayList<String>();
            while (consumer.position(OUT) < end) {
                consumer.poll(POLL).forEach(record -> values.add(record.offset() + ":" + record.value()));
            }
            return values;
        }
    }

    private String describe(String id) throws Exception {
        TransactionDescription found = get(admin.describeTransactions(List.of(id)).description(id));
        return found.state() + " epoch " + found.producerEpoch() + " time-out " + found.transactionTimeoutMs() + " "
            + found.topicPartitions() + (found.transactionStartTimeMs().isPresent() ? " begun" : "");
    }

    /** The end of the output for those who read everything, and for those who read what is committed. */
    private String ends() throws Exception {
        var ends = new ArrayList<Long>();
        for (var level : new IsolationLevel[] {IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED}) {
            ends.add(get(admin.listOffsets(Map.of(OUT, OffsetSpec.latest()), new ListOffsetsOptions(level)).partitionResult(OUT)).offset());
        }
        return "ends " + ends;
    }

    private String producers() throws Exception {
        List<ProducerState> active = get(admin.describeProducers(List.of(OUT)).partitionResult(OUT)).activeProducers();
        return "producers " + active.stream().map(state -> "epoch " + state.producerEpoch() + " last " + state.lastSequence()
            + " since " + state.currentTransactionStartOffset() + " coordinator " + state.coordinatorEpoch()).sorted().toList();
    }

    private List<String> offsets() throws Exception {
        var committed = get(admin.listConsumerGroupOffsets("copiers").partitionsToOffsetAndMetadata());
        return committed.entrySet().stream().map(entry -> entry.getKey() + "=" + entry.getValue().offset() + " " + entry.getValue().metadata())
            .sorted().toList();
    }

    private List<String> list(ListTransactionsOptions options) throws Exception {
        var listed = get(admin.listTransactions(options).all());
        // Other scenarios on the same server have ids of their own.
        var ours = List.of("app", "copier", "fenced", "late", "open");
        return listed.stream().filter(one -> ours.contains(one.transactionalId())).map((TransactionListing one) -> one.transactionalId() + " " + one.state()).sorted().toList();
    }

    /** Waits until a transaction's markers are written. */
    private void settle(String id) throws Exception {
        await(() -> !describe(id).startsWith("Prepare"));
    }

    private interface Step {
        void run() throws Exception;
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static String attempt(Step step) {
        try {
            step.run();
            return "done";
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        } catch (KafkaException error) {
            var cause = error.getClass() == KafkaException.class && error.getCause() != null ? error.getCause() : error;
            return cause.getClass().getSimpleName();
        } catch (Exception error) {
            return error.getClass().getSimpleName();
        }
    }

    private static void await(Condition condition) throws Exception {
        long end = System.currentTimeMillis() + WAIT_MS;
        while (!condition.holds()) {
            if (System.currentTimeMillis() > end) {
                throw new IllegalStateException("it did not come to that in time");
            }
            Thread.sleep(50);
        }
    }

    private static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(WAIT_MS, TimeUnit.MILLISECONDS);
    }

    private static void say(String what) {
        System.out.println(what);
    }
}
