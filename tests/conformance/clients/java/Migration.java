import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A group that rolls over from the classic to the consumer protocol and back while it reads (KIP-848): Migration BOOTSTRAP.
 * One member after the other is replaced, and not a record may be missed. Some may come twice: where a rebalance begins between
 * poll and commit, Kafka gives the next owner what was read and not yet committed.
 */
public final class Migration {
    private static final int PARTITIONS = 4;
    private static final int RECORDS_PER_ROUND = 40;
    private static final Duration WAIT = Duration.ofSeconds(40);
    private static final Duration POLL = Duration.ofMillis(200);
    private static final String TOPIC = "java-migration";
    private static final String GROUP = "java-migration-group";

    private final String bootstrap;
    private final Admin admin;
    private final List<Member> members = new ArrayList<>();
    private final Set<String> read = new HashSet<>();
    private int produced;

    private record Member(String protocol, KafkaConsumer<String, String> consumer) {}

    private Migration(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] args) throws Exception {
        new Migration(args[0]).play();
    }

    private void play() throws Exception {
        admin.createTopics(List.of(new NewTopic(TOPIC, PARTITIONS, (short) 1))).all().get();
        join("classic");
        join("classic");
        round("two classic members");
        replace("consumer");
        round("one of each");
        replace("consumer");
        round("two of the new protocol");
        replace("classic");
        round("one of each, on the way back");
        replace("classic");
        round("two classic members again");
        for (var member : members) {
            member.consumer().close();
        }
        say("left: " + listing() + ", committed " + committed());
        admin.deleteConsumerGroups(List.of(GROUP)).all().get();
        admin.deleteTopics(List.of(TOPIC)).all().get();
        say("done");
        admin.close();
    }

    private void join(String protocol) {
        var settings = new HashMap<String, Object>(Map.of(
                "bootstrap.servers", bootstrap, "group.id", GROUP, "group.protocol", protocol,
                "auto.offset.reset", "earliest", "enable.auto.commit", false));
        if (protocol.equals("classic")) {
            settings.putAll(Map.of("session.timeout.ms", 10_000, "heartbeat.interval.ms", 300,
                    "partition.assignment.strategy", CooperativeStickyAssignor.class.getName()));
        }
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of(TOPIC));
        members.add(new Member(protocol, consumer));
    }

    /** The oldest member of the other protocol leaves, and one of this protocol comes. */
    private void replace(String protocol) {
        var old = members.stream().filter(member -> !member.protocol().equals(protocol)).findFirst().orElseThrow();
        join(protocol);
        await("the new member is in", this::settled);
        members.remove(old);
        old.consumer().close();
    }

    private void round(String name) throws Exception {
        await(name + ": everybody has partitions", this::settled);
        var settings = Map.<String, Object>of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int n = 0; n < RECORDS_PER_ROUND; n++) {
                producer.send(new ProducerRecord<>(TOPIC, n % PARTITIONS, null, "record " + produced++)).get();
            }
        }
        await(name + ": all is read", () -> read.size() == produced);
        var sizes = members.stream().map(member -> member.consumer().assignment().size()).sorted().toList();
        say(name + ": partitions " + sizes + ", read " + read.size() + ", " + listing());
    }

    /** Every partition is with one member, and every member has some. */
    private boolean settled() {
        var sets = members.stream().map(member -> member.consumer().assignment()).toList();
        var all = sets.stream().flatMap(set -> set.stream()).map(partition -> partition.partition()).toList();
        return sets.stream().noneMatch(set -> set.isEmpty()) && all.size() == PARTITIONS
                && new TreeSet<>(all).size() == PARTITIONS;
    }

    private long committed() throws Exception {
        var offsets = admin.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get();
        return offsets.values().stream().mapToLong(offset -> offset.offset()).sum();
    }

    private String listing() throws Exception {
        var groups = admin.listGroups(new ListGroupsOptions()).all().get().stream().filter(g -> g.groupId().equals(GROUP));
        GroupListing found = groups.findFirst().orElseThrow();
        return found.type().map(Object::toString).orElse("?") + " " + found.groupState().map(Object::toString).orElse("?");
    }

    private void await(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + WAIT.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("timed out: " + what + "; " + members.stream()
                        .map(member -> member.protocol() + " " + member.consumer().assignment()).collect(Collectors.joining(", ")));
            }
            for (var member : members) {
                var records = member.consumer().poll(POLL);
                records.forEach(record -> read.add(record.value()));
                if (!records.isEmpty()) {
                    commit(member.consumer());
                }
            }
        }
    }

    /** A rebalance may begin between poll and commit: what was read is then committed after the next poll, which completes it. */
    private static void commit(KafkaConsumer<String, String> consumer) {
        try {
            consumer.commitSync();
        } catch (RebalanceInProgressException e) {
            // Nothing is lost: the position stays.
        }
    }

    private static void say(String line) {
        System.out.println(line);
    }
}
