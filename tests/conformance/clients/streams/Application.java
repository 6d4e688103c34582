import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;

import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * One process of an ordinary Kafka Streams application: Application BOOTSTRAP APPLICATION_ID word-count|windowed-join
 * STATE_DIR [SETTING=VALUE]... It runs until it is told to end (SIGTERM), or is killed.
 *
 * word-count:     APPLICATION_ID-lines, through a repartition topic, to APPLICATION_ID-counts
 * windowed-join:  APPLICATION_ID-left and -right, within five seconds of each other, to APPLICATION_ID-joined
 */
public final class Application {
    /** Two records join when they are at most this far apart. */
    static final Duration WINDOW = Duration.ofSeconds(5);
    /** Nothing that the scenario sends is too late. */
    private static final Duration GRACE = Duration.ofDays(1);

    private Application() {
    }

    public static void main(String[] args) throws Exception {
        var builder = new StreamsBuilder();
        switch (args[2]) {
            case "word-count" -> countWords(builder, args[1]);
            case "windowed-join" -> joinWithinWindow(builder, args[1]);
            default -> throw new IllegalArgumentException("no such application: " + args[2]);
        }
        var settings = new Properties();
        settings.putAll(Map.of(
                "bootstrap.servers", args[0], "application.id", args[1], "state.dir", Path.of(args[3]).toString(),
                "statestore.cache.max.bytes", 0, "commit.interval.ms", 200, "repartition.purge.interval.ms", 500,
                "default.key.serde", Serdes.StringSerde.class, "default.value.serde", Serdes.StringSerde.class));
        for (String setting : Arrays.asList(args).subList(4, args.length)) {
            int equals = setting.indexOf('=');
            settings.put(setting.substring(0, equals), setting.substring(equals + 1));
        }
        var ended = new CountDownLatch(1);
        var streams = new KafkaStreams(builder.build(), settings);
        streams.setStateListener((now, before) -> {
            System.err.println(now);
            if (now == KafkaStreams.State.ERROR || now == KafkaStreams.State.NOT_RUNNING) {
                ended.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
        ended.await();
        if (streams.state() == KafkaStreams.State.ERROR) {
            Runtime.getRuntime().halt(1);
        }
    }

    private static void countWords(StreamsBuilder builder, String id) {
        builder.<String, String>stream(id + "-lines")
                .flatMap((number, line) -> Arrays.stream(line.split(" ")).map(word -> KeyValue.pair(word, word)).toList())
                .groupByKey(Grouped.as("by-word"))
                .count(Materialized.<String, Long, KeyValueStore<org.apache.kafka.common.utils.Bytes, byte[]>>as("counts")
                        .withValueSerde(Serdes.Long()))
                .toStream()
                .to(id + "-counts", Produced.with(Serdes.String(), Serdes.Long()));
    }

    private static void joinWithinWindow(StreamsBuilder builder, String id) {
        var strings = Consumed.with(Serdes.String(), Serdes.String());
        var left = builder.stream(id + "-left", strings);
        var right = builder.stream(id + "-right", strings);
        left.join(right, (l, r) -> l + "+" + r, JoinWindows.ofTimeDifferenceAndGrace(WINDOW, GRACE),
                        StreamJoined.with(Serdes.String(), Serdes.String(), Serdes.String()).withStoreName("pairs"))
                .to(id + "-joined");
    }
}
