import java.time.Duration;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** A share group's life (KIP-932): what a member is given, what becomes of its word, and what administrators see. */
public class ShareScenario {
    static final String TOPIC = "share-scenario", GROUP = "share-group";
    static String bootstrap;
    static Admin admin;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        admin.createTopics(List.of(new NewTopic(TOPIC, 1, (short) 1))).all().get();
        setting("share.auto.offset.reset", "earliest");
        setting("share.record.lock.duration.ms", "15000");
        produce("a", 6, false, true);
        try (var one = consumer("explicit")) {
            one.subscribe(List.of(TOPIC));
            var first = poll(one, 6);
            show("first delivery", first);
            var types = List.of(AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT,
                AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.ACCEPT);
            for (int i = 0; i < first.size(); i++) one.acknowledge(first.get(i), types.get(i));
            one.commitSync().forEach((partition, error) -> System.out.println("committed: " + error));
            var second = poll(one, 2);
            show("second delivery", second);
            for (var record : second) one.acknowledge(record, AcknowledgeType.ACCEPT);
            one.commitSync();
            offsets("after all of it");
            describe();
            try {
                admin.alterShareGroupOffsets(GROUP, Map.of(new TopicPartition(TOPIC, 0), 0L)).all().get();
            } catch (Exception e) {
                System.out.println("alter with members: " + e.getCause().getClass().getSimpleName());
            }
        }
        produce("b", 4, false, true);
        try (var one = consumer("implicit")) {
            one.subscribe(List.of(TOPIC));
            show("implicit", poll(one, 4));
            one.commitSync();
        }
        offsets("after the second member");
        boolean transactions = args[1].equals("transactions");
        if (transactions) {
            setting("share.isolation.level", "read_committed");
            produce("c", 3, true, false);
            produce("d", 3, true, true);
            try (var one = consumer("implicit")) {
                one.subscribe(List.of(TOPIC));
                show("committed only", poll(one, 3));
                one.commitSync();
            }
        }
        System.out.println("listed: " + admin.listGroups(ListGroupsOptions.forShareGroups()).all().get().stream()
            .map(g -> g.groupId() + " " + g.type().get() + " " + g.groupState().get()).sorted().toList());
        admin.alterShareGroupOffsets(GROUP, Map.of(new TopicPartition(TOPIC, 0), 2L)).all().get();
        offsets("altered");
        try (var one = consumer("implicit")) {
            one.subscribe(List.of(TOPIC));
            show("from 2 again", poll(one, 4 + 4 + (transactions ? 3 : 0)));
            one.commitSync();
        }
        admin.deleteShareGroupOffsets(GROUP, Set.of(TOPIC)).all().get();
        offsets("deleted");
        admin.deleteShareGroups(List.of(GROUP)).all().get();
        System.out.println("groups: " + admin.listGroups(ListGroupsOptions.forShareGroups()).all().get().size());
        try {
            admin.describeShareGroups(List.of(GROUP)).all().get();
        } catch (Exception e) {
            System.out.println("described: " + e.getCause().getClass().getSimpleName());
        }
        admin.deleteTopics(List.of(TOPIC)).all().get();
        admin.close();
    }

    static KafkaShareConsumer<String, String> consumer(String mode) {
        return new KafkaShareConsumer<>(Map.of("bootstrap.servers", bootstrap, "group.id", GROUP,
            "share.acknowledgement.mode", mode), new StringDeserializer(), new StringDeserializer());
    }

    static List<ConsumerRecord<String, String>> poll(KafkaShareConsumer<String, String> consumer, int count) {
        var records = new ArrayList<ConsumerRecord<String, String>>();
        long end = System.currentTimeMillis() + 30_000;
        while (records.size() < count && System.currentTimeMillis() < end) {
            consumer.poll(Duration.ofMillis(500)).forEach(records::add);
        }
        return records;
    }

    static void show(String what, List<ConsumerRecord<String, String>> records) {
        System.out.println(what + ": " + records.stream()
            .map(r -> r.value() + "/" + r.deliveryCount().map(String::valueOf).orElse("-"))
            .collect(Collectors.joining(" ")));
    }

    static void produce(String prefix, int count, boolean transactional, boolean commit) throws Exception {
        var config = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 100));
        if (transactional) config.put("transactional.id", "share-" + prefix);
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            if (transactional) {
                producer.initTransactions();
                producer.beginTransaction();
            }
            for (int i = 0; i < count; i++) producer.send(new ProducerRecord<>(TOPIC, 0, null, prefix + i));
            producer.flush();
            if (transactional && commit) producer.commitTransaction();
            if (transactional && !commit) producer.abortTransaction();
        }
    }

    static void setting(String name, String value) throws Exception {
        var op = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, GROUP), List.of(op))).all().get();
    }

    static void offsets(String when) throws Exception {
        var offsets = admin.listShareGroupOffsets(Map.of(GROUP, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(GROUP).get();
        System.out.println(when + ": " + new TreeMap<>(offsets.entrySet().stream().collect(Collectors.toMap(
            e -> e.getKey().toString(), e -> "start " + e.getValue().startOffset() + " lag " + e.getValue().lag()))));
    }

    static void describe() throws Exception {
        var group = admin.describeShareGroups(List.of(GROUP)).all().get().get(GROUP);
        System.out.println("described: " + group.groupState() + ", " + group.members().size() + " member with "
            + group.members().stream().flatMap(m -> m.assignment().topicPartitions().stream()).toList());
    }
}
