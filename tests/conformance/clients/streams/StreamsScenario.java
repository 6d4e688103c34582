import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.StreamsGroupMemberAssignment;
import org.apache.kafka.clients.admin.StreamsGroupSubtopologyDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What unmodified Kafka Streams applications do on a server: StreamsScenario BOOTSTRAP word-count|windowed-join classic|streams.
 * The applications are processes of their own (Application), so that they can be killed. See ../../README.md.
 */
public final class StreamsScenario {
    private static final int PARTITIONS = 2;
    private static final long START_MS = 1_700_000_000_000L;
    private static final Duration WAIT = Duration.ofSeconds(60);
    private static final Duration POLL = Duration.ofMillis(100);
    private static final List<String> WORDS = List.of("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta");
    private static final int LINES = 60;
    private static final int WORDS_PER_LINE = 3;
    private static final int JOIN_KEYS = 5;
    private static final int JOIN_ROUNDS = 120;

    private final String bootstrap;
    private final String application;
    private final String protocol;
    private final String id;
    private final Admin admin;
    private final Path work;
    private final List<Process> processes = new ArrayList<>();

    private StreamsScenario(String bootstrap, String application, String protocol) throws Exception {
        this.bootstrap = bootstrap;
        this.application = application;
        this.protocol = protocol;
        this.id = application + "-" + protocol;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        this.work = Files.createTempDirectory("streams-scenario");
    }

    public static void main(String[] args) throws Exception {
        var scenario = new StreamsScenario(args[0], args[1], args[2]);
        try {
            switch (args[1]) {
                case "word-count" -> scenario.countWords();
                case "windowed-join" -> scenario.joinWithinWindow();
                default -> throw new IllegalArgumentException("no such scenario: " + args[1]);
            }
            say("done");
        } finally {
            scenario.end();
        }
    }

    // Counting words, at least once: one process, then two, then one again.

    private void countWords() throws Exception {
        createTopics("lines", "counts");
        try (var output = reader(topic("counts"), new LongDeserializer())) {
            Process first = start("first");
            produceLines(0);
            sayCounts("one process", output, LINES * WORDS_PER_LINE);
            sayTopics();
            sayGroup();

            Process second = start("second");
            await("both processes have tasks", () -> tasks().equals(List.of(2, 2)));
            say("two processes have " + list(tasks()) + " tasks");
            produceLines(1);
            sayCounts("two processes", output, LINES * WORDS_PER_LINE);

            say("second process ends: " + stop(second));
            await("the first process has every task", () -> tasks().equals(List.of(4)));
            produceLines(2);
            sayCounts("one process is left", output, LINES * WORDS_PER_LINE);
            awaitPurged(topic("by-word-repartition"));
            say("first process ends: " + stop(first));
        }
        await("the group is empty", () -> groupState() == GroupState.EMPTY);
        say("committed: " + committed());
        sayChangelog();
        say("delete group: " + failure(protocol.equals("streams")
                ? admin.deleteStreamsGroups(List.of(id)).all() : admin.deleteConsumerGroups(List.of(id)).all()));
    }

    private void produceLines(int round) throws Exception {
        try (var producer = producer()) {
            for (int n = 0; n < LINES; n++) {
                int number = round * LINES + n;
                String line = IntStream.range(0, WORDS_PER_LINE).mapToObj(w -> WORDS.get((number * (w + 1) + w) % WORDS.size()))
                        .collect(Collectors.joining(" "));
                producer.send(new ProducerRecord<>(topic("lines"), number % PARTITIONS, START_MS + 1000L * number, "" + number, line));
            }
        }
    }

    /** The counts that came for each word, in the order in which they came. */
    private void sayCounts(String title, KafkaConsumer<String, Long> output, int count) {
        var found = new TreeMap<String, List<Long>>();
        for (var record : read(output, count)) {
            found.computeIfAbsent(record.key(), word -> new ArrayList<>()).add(record.value());
        }
        say(title + ":");
        found.forEach((word, counts) -> say("  " + word + " " + list(counts)));
    }

    private void sayChangelog() {
        try (var reader = reader(topic("counts-changelog"), new LongDeserializer())) {
            var last = new TreeMap<String, Long>();
            for (var record : read(reader, LINES * WORDS_PER_LINE * 3)) {
                last.put(record.key(), record.value());
            }
            say("changelog: " + last);
        }
    }

    // A join within a window, exactly once: killed with a transaction open, and once more with its state lost.

    private void joinWithinWindow() throws Exception {
        createTopics("left", "right", "joined");
        var settings = new String[] {"processing.guarantee=exactly_once_v2"};
        try (var output = reader(topic("joined"), new StringDeserializer());
             var hasty = reader(topic("joined"), new StringDeserializer(), "isolation.level", "read_uncommitted")) {
            var found = new ArrayList<ConsumerRecord<String, String>>();
            Process first = start("first", settings);
            produceBothSides(0);
            found.addAll(read(output, joinedRecords(1)));
            read(hasty, joinedRecords(1));
            sayTopics();

            produceBothSides(1);
            await("a second round's record is written", () -> !hasty.poll(POLL).isEmpty());
            say("killed: " + kill(first));
            Process second = start("first", settings);
            found.addAll(read(output, joinedRecords(2) - found.size()));

            hasty.seekToEnd(hasty.assignment());
            hasty.assignment().forEach(hasty::position);
            produceBothSides(2);
            await("a third round's record is written", () -> !hasty.poll(POLL).isEmpty());
            say("killed: " + kill(second));
            delete(work.resolve("first"));
            Process third = start("first", settings);
            found.addAll(read(output, joinedRecords(3) - found.size()));
            say("ended: " + stop(third));
            found.addAll(read(output, 0));
            sayJoined(found);
        }
        await("the group is empty", () -> groupState() == GroupState.EMPTY);
        say("committed: " + committed());
        await("no transaction is open", () -> get(admin.listTransactions().all()).stream()
                .allMatch(transaction -> transaction.state().toString().startsWith("Complete")));
        say("transactions: complete");
    }

    /** On each side, a record for each key and second. */
    private void produceBothSides(int round) throws Exception {
        try (var producer = producer()) {
            for (int n = round * JOIN_ROUNDS; n < (round + 1) * JOIN_ROUNDS; n++) {
                for (int key = 0; key < JOIN_KEYS; key++) {
                    long timestamp = START_MS + 1000L * n;
                    producer.send(new ProducerRecord<>(topic("left"), key % PARTITIONS, timestamp, "key-" + key, "l" + n));
                    producer.send(new ProducerRecord<>(topic("right"), key % PARTITIONS, timestamp, "key-" + key, "r" + n));
                }
            }
        }
    }

    /** How many pairs there are when so many rounds have been sent. */
    private static int joinedRecords(int rounds) {
        int last = rounds * JOIN_ROUNDS - 1;
        int reach = (int) Application.WINDOW.toSeconds();
        return JOIN_KEYS * IntStream.rangeClosed(0, last)
                .map(left -> Math.min(last, left + reach) - Math.max(0, left - reach) + 1).sum();
    }

    private static void sayJoined(Collection<ConsumerRecord<String, String>> found) {
        var byLeft = new TreeMap<String, TreeSet<Integer>>();
        for (var record : found) {
            var sides = record.value().split("[+]");
            byLeft.computeIfAbsent(record.key() + " " + String.format("%04d", Integer.parseInt(sides[0].substring(1))),
                    left -> new TreeSet<>()).add(Integer.parseInt(sides[1].substring(1)));
        }
        say("joined: " + found.size() + " records, " + byLeft.values().stream().mapToInt(TreeSet::size).sum() + " different");
        byLeft.forEach((left, right) -> say("  " + left + " with " + list(List.copyOf(right))));
    }

    // What is known of the application from outside.

    private void sayTopics() {
        var names = new TreeSet<>(get(admin.listTopics().names()));
        names.removeIf(name -> !name.startsWith(id));
        var described = get(admin.describeTopics(names).allTopicNames());
        var configs = get(admin.describeConfigs(names.stream().map(StreamsScenario::resource).toList()).all());
        for (String name : names) {
            var own = configs.get(resource(name)).entries().stream()
                    .filter(entry -> entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG)
                    .map(entry -> entry.name() + "=" + entry.value()).sorted().toList();
            say("topic " + name + ": " + described.get(name).partitions().size() + " partitions " + list(own));
        }
    }

    private void sayGroup() {
        if (protocol.equals("classic")) {
            var group = get(admin.describeConsumerGroups(List.of(id)).all()).get(id);
            say("group: " + group.type() + " " + group.groupState() + " " + group.partitionAssignor() + " members " + group.members().size());
            return;
        }
        var group = get(admin.describeStreamsGroups(List.of(id)).all()).get(id);
        say("group: " + group.groupState() + " epoch " + group.groupEpoch() + " assignment epoch " + group.targetAssignmentEpoch()
                + " topology epoch " + group.topologyEpoch());
        for (StreamsGroupSubtopologyDescription part : group.subtopologies()) {
            say("  subtopology " + part.subtopologyId() + ": from " + part.sourceTopics() + " and " + part.repartitionSourceTopics()
                    + " to " + part.repartitionSinkTopics() + " changelogs " + part.stateChangelogTopics());
        }
        for (var member : group.members()) {
            say("  member epoch " + member.memberEpoch() + " topology epoch " + member.topologyEpoch() + " has "
                    + ids(member.assignment()) + " is meant to have " + ids(member.targetAssignment()));
        }
    }

    private static String ids(StreamsGroupMemberAssignment assignment) {
        return "active " + assignment.activeTasks() + " standby " + assignment.standbyTasks() + " warm-up " + assignment.warmupTasks();
    }

    /** How many tasks each process has, when it is agreed who has which. */
    private List<Integer> tasks() {
        if (protocol.equals("classic")) {
            var group = get(admin.describeConsumerGroups(List.of(id)).all()).get(id);
            return group.groupState() != GroupState.STABLE ? List.of()
                    : group.members().stream().map(member -> member.assignment().topicPartitions().size()).sorted().toList();
        }
        var group = get(admin.describeStreamsGroups(List.of(id)).all()).get(id);
        return group.groupState() != GroupState.STABLE ? List.of() : group.members().stream()
                .map(member -> member.assignment().activeTasks().stream().mapToInt(task -> task.partitions().size()).sum())
                .sorted().toList();
    }

    private GroupState groupState() {
        return protocol.equals("classic") ? get(admin.describeConsumerGroups(List.of(id)).all()).get(id).groupState()
                : get(admin.describeStreamsGroups(List.of(id)).all()).get(id).groupState();
    }

    private String committed() {
        var found = get(protocol.equals("classic") ? admin.listConsumerGroupOffsets(id).partitionsToOffsetAndMetadata()
                : admin.listStreamsGroupOffsets(Map.of(id, new org.apache.kafka.clients.admin.ListStreamsGroupOffsetsSpec()))
                        .partitionsToOffsetAndMetadata(id));
        var byPartition = new TreeMap<String, Long>();
        found.forEach((partition, offset) -> byPartition.put(partition.toString(), offset.offset()));
        // Exactly once, control records take offsets of their own in the repartition topics; here there are none of these.
        return byPartition.toString();
    }

    /** Waits until the application has had the broker delete what it needs no more. */
    private void awaitPurged(String topic) {
        await("the repartition topic is purged", () -> offsets(topic, OffsetSpec.earliest()).equals(offsets(topic, OffsetSpec.latest())));
        say("purged: " + topic);
    }

    private Map<TopicPartition, Long> offsets(String topic, OffsetSpec spec) {
        var asked = partitions(topic).stream().collect(Collectors.toMap(Function.identity(), partition -> spec));
        var found = new HashMap<TopicPartition, Long>();
        get(admin.listOffsets(asked).all()).forEach((partition, offset) -> found.put(partition, offset.offset()));
        return found;
    }

    // Processes.

    /** A process of the application. Processes of one name share a state folder, one after the other. */
    private Process start(String name, String... more) throws Exception {
        var command = new ArrayList<String>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx256M",
                "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.disable.jmx=true"));
        for (String property : new String[] {"log4j2.configurationFile"}) {
            command.add("-D" + property + "=" + System.getProperty(property));
        }
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), "Application", bootstrap, id, application,
                work.resolve(name).toString(), "group.protocol=" + protocol));
        if (protocol.equals("classic")) { // else the broker's business
            command.addAll(List.of("main.consumer.session.timeout.ms=6000", "main.consumer.heartbeat.interval.ms=500"));
        }
        command.addAll(Arrays.asList(more));
        var process = new ProcessBuilder(command).inheritIO().start();
        processes.add(process);
        return process;
    }

    private int stop(Process process) throws InterruptedException {
        process.destroy();
        return exit(process);
    }

    private int kill(Process process) throws InterruptedException {
        process.destroyForcibly();
        return exit(process);
    }

    private int exit(Process process) throws InterruptedException {
        if (!process.waitFor(WAIT.toSeconds(), TimeUnit.SECONDS)) {
            throw new IllegalStateException("timed out: the application ends");
        }
        return process.exitValue();
    }

    private void end() throws Exception {
        processes.forEach(Process::destroyForcibly);
        for (var process : processes) {
            exit(process);
        }
        delete(work);
        admin.close(Duration.ZERO);
    }

    private static void delete(Path folder) throws Exception {
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }

    // Topics and records.

    private String topic(String name) {
        return id + "-" + name;
    }

    private void createTopics(String... names) {
        get(admin.createTopics(Stream.of(names).map(name -> new NewTopic(topic(name), PARTITIONS, (short) 1)
                .configs(Map.of("retention.ms", "-1"))).toList()).all());
    }

    private static ConfigResource resource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    private static List<TopicPartition> partitions(String topic) {
        return IntStream.range(0, PARTITIONS).mapToObj(partition -> new TopicPartition(topic, partition)).toList();
    }

    private KafkaProducer<String, String> producer() {
        return new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 5), new StringSerializer(), new StringSerializer());
    }

    private <V> KafkaConsumer<String, V> reader(String topic, Deserializer<V> values, String... more) {
        var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed",
                "auto.offset.reset", "earliest"));
        for (int at = 0; at < more.length; at += 2) {
            settings.put(more[at], more[at + 1]);
        }
        var reader = new KafkaConsumer<String, V>(settings, new StringDeserializer(), values);
        reader.assign(partitions(topic));
        reader.seekToBeginning(partitions(topic));
        return reader;
    }

    /** So many records; more would be noticed. */
    private static <V> List<ConsumerRecord<String, V>> read(KafkaConsumer<String, V> reader, int count) {
        var found = new ArrayList<ConsumerRecord<String, V>>();
        await(count + " records come", () -> {
            reader.poll(POLL).forEach(found::add);
            return found.size() >= count;
        });
        reader.poll(POLL).forEach(found::add);
        return found;
    }

    private static void await(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + WAIT.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("timed out: " + what);
            }
            java.util.concurrent.locks.LockSupport.parkNanos(POLL.toNanos());
        }
    }

    private static <T> T get(KafkaFuture<T> future) {
        try {
            return future.get();
        } catch (Exception failed) {
            throw new IllegalStateException(failed);
        }
    }

    private static String failure(KafkaFuture<?> future) {
        try {
            future.get();
            return "none";
        } catch (Exception failed) {
            return failed.getCause().getClass().getSimpleName();
        }
    }

    private static String list(List<?> all) {
        return all.stream().map(String::valueOf).collect(Collectors.joining(" "));
    }

    private static void say(String line) {
        System.out.println(line);
    }
}
