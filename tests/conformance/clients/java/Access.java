import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateDelegationTokenOptions;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeDelegationTokenOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Utils;

/**
 * What may be done by whom: Access ADMIN-BOOTSTRAP BOOTSTRAP CLIENT-PROPERTIES USER. Everything is tried by a user who may
 * do nothing, and again after each access control entry that it may need; then the entries are taken away.
 */
public final class Access {
    private static final TopicPartition PARTITION = new TopicPartition("acl-t", 0);
    private static final long WAIT_MS = 30_000;
    private static final long SLOW_MS = 3_000;
    private static final AclBindingFilter ALL = AclBindingFilter.ANY;

    private final String rootBootstrap;
    private final Map<String, Object> properties;
    private final String user;
    private final Admin root;
    private final Admin admin;

    private interface Action {
        Object run() throws Exception;
    }

    private Access(String[] args) throws Exception {
        rootBootstrap = args[0];
        properties = new HashMap<>();
        Utils.loadProps(args[2]).forEach((key, value) -> properties.put((String) key, value));
        properties.put("bootstrap.servers", args[1]);
        user = "User:" + args[3];
        root = Admin.create(Map.of("bootstrap.servers", rootBootstrap));
        admin = Admin.create(properties);
    }

    public static void main(String[] args) throws Exception {
        var access = new Access(args);
        try {
            access.prepare();
            access.topics();
            access.records();
            access.groups();
            access.cluster();
            access.patterns();
        } finally {
            access.admin.close();
            access.root.close();
        }
    }

    private void prepare() throws Exception {
        get(root.createTopics(List.of(new NewTopic("acl-t", 1, (short) 1))).all());
        Map<String, Object> settings = Map.of("bootstrap.servers", rootBootstrap);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>("acl-t", 0, "k", "v")).get();
        }
        group("acl-g");
    }

    /** A group without members, with an offset. */
    private void group(String name) throws Exception {
        get(root.alterConsumerGroupOffsets(name, Map.of(PARTITION, new OffsetAndMetadata(0))).all());
    }

    private void topics() throws Exception {
        var made = List.of(new NewTopic("acl-new", 1, (short) 1));
        attempt("create a topic", () -> get(admin.createTopics(made, new CreateTopicsOptions().validateOnly(true)).all()),
            "TOPIC acl-new CREATE");
        attempt("create a topic", () -> get(admin.createTopics(made, new CreateTopicsOptions().validateOnly(true)).all()),
            "CLUSTER kafka-cluster CREATE");
        attempt("create a topic and see its settings",
            () -> get(admin.createTopics(made, new CreateTopicsOptions().validateOnly(true)).config("acl-new")),
            "TOPIC acl-new CREATE", "TOPIC acl-new DESCRIBE_CONFIGS");
        attempt("delete a topic", () -> get(admin.deleteTopics(Set.of("acl-missing")).all()),
            "TOPIC acl-missing DESCRIBE", "TOPIC acl-missing DELETE");
        attempt("add partitions",
            () -> get(admin.createPartitions(Map.of("acl-t", NewPartitions.increaseTo(2)), new CreatePartitionsOptions().validateOnly(true)).all()),
            "TOPIC acl-t ALTER");
        attempt("describe a topic", () -> get(admin.describeTopics(Set.of("acl-t")).allTopicNames()), "TOPIC acl-t DESCRIBE");
        attempt("list topics", () -> get(admin.listTopics().names()).stream().filter(name -> !name.startsWith("__")).toList(), "TOPIC acl-t READ", "TOPIC * DESCRIBE");
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, "acl-t");
        attempt("a topic's settings", () -> get(admin.describeConfigs(Set.of(topic)).all()), "TOPIC acl-t DESCRIBE_CONFIGS");
        attempt("alter a topic's settings", () -> alter(topic, "retention.ms", "1000"), "TOPIC acl-t ALTER_CONFIGS");
        attempt("delete records", () -> get(admin.deleteRecords(Map.of(PARTITION, RecordsToDelete.beforeOffset(0))).all()),
            "TOPIC acl-t DELETE");
        attempt("list offsets", () -> get(admin.listOffsets(Map.of(PARTITION, OffsetSpec.latest())).all()).size(), "TOPIC acl-t DESCRIBE");
        attempt("describe producers", () -> get(admin.describeProducers(Set.of(PARTITION)).all()).size(), "TOPIC acl-t READ");
    }

    private Object alter(ConfigResource resource, String key, String value) throws Exception {
        var change = new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET);
        return get(admin.incrementalAlterConfigs(Map.of(resource, List.of(change)), new AlterConfigsOptions().validateOnly(true)).all());
    }

    private void records() throws Exception {
        attempt("produce", () -> produce(Map.of("enable.idempotence", false)), "TOPIC acl-t WRITE");
        attempt("produce, all topics", () -> produce(Map.of("enable.idempotence", false)), "TOPIC * ALL");
        attempt("produce idempotently", () -> produce(Map.of()), "TOPIC acl-t WRITE");
        attempt("produce idempotently", () -> produce(Map.of()), "CLUSTER kafka-cluster IDEMPOTENT_WRITE", "TOPIC acl-t WRITE");
        attempt("a transaction", () -> transaction(null), "TRANSACTIONAL_ID acl-x WRITE", "TOPIC acl-t WRITE");
        attempt("a transaction's offsets", () -> transaction("acl-g"), "TRANSACTIONAL_ID acl-x WRITE", "TOPIC acl-t WRITE",
            "GROUP acl-g READ", "TOPIC acl-t READ");
        attempt("describe a transaction", () -> get(admin.describeTransactions(Set.of("acl-x")).all()).size(),
            "TRANSACTIONAL_ID acl-x DESCRIBE");
        attempt("list transactions", () -> get(admin.listTransactions().all()).stream().map(t -> t.transactionalId()).toList(),
            "TRANSACTIONAL_ID acl-x DESCRIBE");
        attempt("fence producers", () -> get(admin.fenceProducers(Set.of("acl-x")).all()), "TRANSACTIONAL_ID acl-x WRITE");
        attempt("abort a transaction", () -> get(admin.abortTransaction(new AbortTransactionSpec(PARTITION, 4711, (short) 0, 0)).all()),
            "CLUSTER kafka-cluster ALTER");
        attempt("fetch", this::fetch, "TOPIC acl-t READ");
        attempt("read in a group", () -> consume("acl-c", "classic"), "GROUP acl-c READ", "TOPIC acl-t READ");
        attempt("read in a group (KIP-848)", () -> consume("acl-k", "consumer"), "GROUP acl-k READ", "TOPIC acl-t READ");
    }

    private KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(properties);
        settings.putAll(more);
        settings.put("max.block.ms", 5000);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(properties);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        settings.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, false);
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private Object produce(Map<String, Object> more) throws Exception {
        try (var producer = producer(more)) {
            return producer.send(new ProducerRecord<>("acl-t", 0, "k", "v")).get() == null ? "nothing" : "written";
        }
    }

    private Object transaction(String group) throws Exception {
        var producer = producer(Map.of("transactional.id", "acl-x"));
        try {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("acl-t", 0, "k", "v")).get();
            if (group != null) {
                try (var member = consumer(Map.of(ConsumerConfig.GROUP_ID_CONFIG, group))) {
                    producer.sendOffsetsToTransaction(Map.of(PARTITION, new OffsetAndMetadata(0)), member.groupMetadata());
                }
            }
            producer.abortTransaction();
            return "done";
        } finally {
            // What is refused may leave a transaction open, which to abort takes as long as a request may.
            producer.close(Duration.ofSeconds(1));
        }
    }

    private Object fetch() {
        try (var consumer = consumer(Map.of())) {
            consumer.assign(Set.of(PARTITION));
            return firstOf(consumer);
        }
    }

    /** Of a group's and its topic's refusal, the client tells whichever it learns first. */
    private Object consume(String group, String protocol) {
        var settings = Map.<String, Object>of(ConsumerConfig.GROUP_ID_CONFIG, group, ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol);
        try (var consumer = consumer(settings)) {
            consumer.subscribe(Set.of("acl-t"));
            return firstOf(consumer);
        } catch (AuthorizationException e) {
            return "refused";
        }
    }

    private static String firstOf(KafkaConsumer<String, String> consumer) {
        for (long end = System.currentTimeMillis() + WAIT_MS; System.currentTimeMillis() < end;) {
            if (!consumer.poll(Duration.ofMillis(200)).isEmpty()) {
                return "read";
            }
        }
        return "nothing";
    }

    private void groups() throws Exception {
        var group = Set.of("acl-g");
        attempt("list groups", () -> get(admin.listGroups().all()).stream().map(g -> g.groupId()).filter("acl-g"::equals).toList(),
            "GROUP acl-g DESCRIBE");
        attempt("list groups", () -> get(admin.listGroups().all()).stream().map(g -> g.groupId()).filter("acl-g"::equals).toList(),
            "CLUSTER kafka-cluster DESCRIBE");
        attempt("describe a group", () -> get(admin.describeConsumerGroups(group).all()).size(), "GROUP acl-g DESCRIBE");
        attempt("a group's offsets", () -> get(admin.listConsumerGroupOffsets(Map.of("acl-g", new ListConsumerGroupOffsetsSpec())).all()),
            "GROUP acl-g DESCRIBE", "TOPIC acl-t DESCRIBE");
        attempt("alter a group's offsets",
            () -> get(admin.alterConsumerGroupOffsets("acl-g", Map.of(PARTITION, new OffsetAndMetadata(0))).all()),
            "GROUP acl-g READ", "TOPIC acl-t READ");
        attempt("delete a group's offsets", () -> get(admin.deleteConsumerGroupOffsets("acl-g", Set.of(PARTITION)).partitionResult(PARTITION)),
            "GROUP acl-g DELETE", "TOPIC acl-t READ");
        group("acl-g");
        attempt("delete a group", () -> get(admin.deleteConsumerGroups(Set.of("acl-none")).all()), "GROUP acl-none DELETE");
        attempt("describe a share group", () -> get(admin.describeShareGroups(Set.of("acl-s")).all()).size(), "GROUP acl-s DESCRIBE");
        attempt("a share group's offsets",
            () -> get(admin.listShareGroupOffsets(Map.of("acl-s", new ListShareGroupOffsetsSpec())).all()), "GROUP acl-s DESCRIBE");
        var resource = new ConfigResource(ConfigResource.Type.GROUP, "acl-g");
        attempt("a group's settings", () -> get(admin.describeConfigs(Set.of(resource)).all()).size(), "GROUP acl-g DESCRIBE_CONFIGS");
        attempt("alter a group's settings", () -> alter(resource, "consumer.session.timeout.ms", "50000"), "GROUP acl-g ALTER_CONFIGS");
    }

    private void cluster() throws Exception {
        attempt("describe the cluster", () -> get(admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true))
            .authorizedOperations()).stream().map(Enum::name).sorted().toList(), "CLUSTER kafka-cluster DESCRIBE", "CLUSTER kafka-cluster ALTER");
        var broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        attempt("a broker's settings", () -> get(admin.describeConfigs(Set.of(broker)).all()).size(), "CLUSTER kafka-cluster DESCRIBE_CONFIGS");
        attempt("alter a broker's settings", () -> alter(broker, "background.threads", "8"), "CLUSTER kafka-cluster ALTER_CONFIGS");
        attempt("describe entries", () -> get(admin.describeAcls(ALL).values()).size() > 0, "CLUSTER kafka-cluster DESCRIBE");
        attempt("create an entry", () -> get(admin.createAcls(Set.of(binding("TOPIC acl-u READ"))).all()), "CLUSTER kafka-cluster ALTER");
        attempt("delete entries", () -> get(admin.deleteAcls(Set.of(binding("TOPIC acl-v READ").toFilter())).all()).size(),
            "CLUSTER kafka-cluster ALTER");
        attempt("log directories", () -> get(admin.describeLogDirs(Set.of(1)).allDescriptions()).size(), "CLUSTER kafka-cluster DESCRIBE");
        attempt("move a log", () -> get(admin.alterReplicaLogDirs(Map.of(new TopicPartitionReplica("acl-t", 0, 1), "/nowhere")).all()),
            "CLUSTER kafka-cluster ALTER");
        attempt("elect leaders", () -> get(admin.electLeaders(ElectionType.PREFERRED, Set.of(PARTITION)).partitions()).size(),
            "CLUSTER kafka-cluster ALTER");
        attempt("list reassignments", () -> get(admin.listPartitionReassignments().reassignments()).size(), "CLUSTER kafka-cluster DESCRIBE");
        attempt("reassign", () -> get(admin.alterPartitionReassignments(Map.of(PARTITION, Optional.empty())).all()),
            "CLUSTER kafka-cluster ALTER");
        attempt("describe quotas", () -> get(admin.describeClientQuotas(ClientQuotaFilter.all()).entities()).size(),
            "CLUSTER kafka-cluster DESCRIBE_CONFIGS");
        var quota = new ClientQuotaAlteration(new ClientQuotaEntity(Map.of("user", "acl")), List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1e9)));
        attempt("alter quotas", () -> get(admin.alterClientQuotas(Set.of(quota)).all()), "CLUSTER kafka-cluster ALTER_CONFIGS");
        attempt("describe users", () -> get(admin.describeUserScramCredentials().all()).containsKey("bob"), "CLUSTER kafka-cluster DESCRIBE");
        var upsertion = new UserScramCredentialUpsertion("acl", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "x");
        attempt("alter users", () -> get(admin.alterUserScramCredentials(List.of(upsertion)).all()), "CLUSTER kafka-cluster ALTER");
        attempt("features", () -> get(admin.describeFeatures().featureMetadata()).supportedFeatures().containsKey("metadata.version"));
        var update = Map.of("transaction.version", new FeatureUpdate((short) 2, FeatureUpdate.UpgradeType.UPGRADE));
        attempt("update features", () -> get(admin.updateFeatures(update, new UpdateFeaturesOptions().validateOnly(true)).all()),
            "CLUSTER kafka-cluster ALTER");
        attempt("the quorum", () -> get(admin.describeMetadataQuorum().quorumInfo()).leaderId(), "CLUSTER kafka-cluster DESCRIBE");
        attempt("unregister a broker", () -> get(admin.unregisterBroker(99).all()), "CLUSTER kafka-cluster ALTER");
        attempt("list settings' resources", () -> get(admin.listConfigResources().all()).size() > 0, "CLUSTER kafka-cluster DESCRIBE_CONFIGS");
        var owned = new CreateDelegationTokenOptions().owner(new KafkaPrincipal("User", "acl-owner"));
        attempt("a token for another", () -> get(admin.createDelegationToken(owned).delegationToken()).tokenInfo().owner(),
            "USER User:acl-owner CREATE_TOKENS");
        var described = new DescribeDelegationTokenOptions().owners(List.of(new KafkaPrincipal("User", "acl-owner")));
        attempt("another's tokens", () -> get(admin.describeDelegationToken(described).delegationTokens()).size(),
            "USER User:acl-owner DESCRIBE_TOKENS");
    }

    /** Which entries apply: patterns, hosts, and denials, which go before all. */
    private void patterns() throws Exception {
        for (String entry : List.of("TOPIC acl-t READ", "TOPIC * READ", "TOPIC acl- READ prefixed", "TOPIC acl-t READ host=127.0.0.1",
            "TOPIC acl-t READ host=10.0.0.1", "TOPIC acl-t READ user=User:*", "TOPIC acl-t READ user=Group:acl", "TOPIC acl-tt READ", "TOPIC acl-t ALL", "TOPIC acl-t DELETE",
            "TOPIC acl-t DESCRIBE", "TOPIC acl READ prefixed", "TOPIC x READ prefixed")) {
            attempt(entry, this::fetch, entry);
        }
        for (String entry : List.of("TOPIC acl-t READ deny", "TOPIC * ALL deny", "TOPIC acl- READ prefixed deny", "TOPIC acl-t READ host=127.0.0.1 deny",
            "TOPIC acl-t READ host=10.0.0.1 deny", "TOPIC acl-t READ user=User:* deny", "TOPIC acl-t DESCRIBE deny", "TOPIC acl-t WRITE deny")) {
            attempt("deny over allow: " + entry, this::fetch, "TOPIC acl-t READ", entry);
        }
        attempt("describe follows from others", () -> get(admin.describeTopics(Set.of("acl-t")).allTopicNames()).size(), "TOPIC acl-t ALTER");
        attempt("describe denied", () -> get(admin.describeTopics(Set.of("acl-t")).allTopicNames()).size(), "TOPIC acl-t WRITE", "TOPIC acl-t DESCRIBE deny");
    }

    /** Tries it without any entry, and again as each is added. */
    private void attempt(String what, Action action, String... entries) throws Exception {
        System.err.println("= " + what);
        System.out.println(what + ": " + outcome(action));
        for (String entry : entries) {
            get(root.createAcls(Set.of(binding(entry))).all());
            awaitEntries(Set.of(binding(entry)), true);
            System.out.println("  + " + entry + ": " + outcome(action));
        }
        if (entries.length > 0) {
            List<AclBinding> bindings = new ArrayList<>();
            List<AclBindingFilter> filters = new ArrayList<>();
            for (String entry : entries) {
                bindings.add(binding(entry));
                filters.add(binding(entry).toFilter());
            }
            get(root.deleteAcls(filters).all());
            awaitEntries(bindings, false);
        }
    }

    /** The broker follows the controller: until what it shows is what was decided. */
    private void awaitEntries(Collection<AclBinding> bindings, boolean there) throws Exception {
        long end = System.currentTimeMillis() + WAIT_MS;
        for (AclBinding binding : bindings) {
            while (get(root.describeAcls(binding.toFilter()).values()).isEmpty() == there) {
                if (System.currentTimeMillis() > end) {
                    throw new IllegalStateException("the entry does not come or go: " + binding);
                }
                Thread.sleep(5);
            }
        }
    }

    /** What an action answers, or the error that it ends with. */
    private static String outcome(Action action) {
        long began = System.currentTimeMillis();
        try {
            Object answer = action.run();
            return answer == null ? "ok" : plainly(answer);
        } catch (Exception e) {
            Throwable cause = e;
            while ((cause instanceof ExecutionException || cause.getClass() == KafkaException.class) && cause.getCause() != null) {
                cause = cause.getCause();
            }
            return cause.getClass().getSimpleName();
        } finally {
            if (System.currentTimeMillis() - began > SLOW_MS) {
                System.err.println("the next took " + (System.currentTimeMillis() - began) + " ms");
            }
        }
    }

    /** Answers that are large or depend on the server are told by their kind. */
    private static String plainly(Object answer) {
        Function<Object, String> kind = what -> what.getClass().getSimpleName();
        if (answer instanceof Boolean || answer instanceof Number || answer instanceof String || answer instanceof KafkaPrincipal) {
            return answer.toString();
        }
        if (answer instanceof Map<?, ?> map) {
            return map.keySet().stream().map(Object::toString).sorted().toList().toString();
        }
        return answer instanceof Collection<?> all ? all.stream().map(Object::toString).sorted().toList().toString() : kind.apply(answer);
    }

    /** RESOURCE NAME OPERATION [prefixed] [host=…] [user=…] [deny]. */
    private AclBinding binding(String text) {
        String[] words = text.split(" ");
        String host = "*";
        String principal = user;
        var pattern = PatternType.LITERAL;
        var permission = AclPermissionType.ALLOW;
        for (int i = 3; i < words.length; i++) {
            if (words[i].equals("prefixed")) {
                pattern = PatternType.PREFIXED;
            } else if (words[i].equals("deny")) {
                permission = AclPermissionType.DENY;
            } else if (words[i].startsWith("host=")) {
                host = words[i].substring(5);
            } else {
                principal = words[i].substring(5);
            }
        }
        return new AclBinding(new ResourcePattern(ResourceType.valueOf(words[0]), words[1], pattern),
            new AccessControlEntry(principal, host, AclOperation.valueOf(words[2]), permission));
    }

    private static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(WAIT_MS, TimeUnit.MILLISECONDS);
    }
}
