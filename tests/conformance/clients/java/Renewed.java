import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;

import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Utils;

/**
 * Authenticates again while it writes and reads (KIP-368): Renewed BOOTSTRAP CLIENT-PROPERTIES TOPIC. It goes on until both
 * of its clients have done so twice, each on a connection that stays.
 */
public final class Renewed {
    private static final long WAIT_MS = 25_000;
    private static final String OWN = "renewed-" + UUID.randomUUID();

    private Renewed() { }

    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        Utils.loadProps(args[1]).forEach((key, value) -> settings.put((String) key, value));
        settings.put("bootstrap.servers", args[0]);
        var partition = new TopicPartition(args[2], 0);
        int written = 0;
        int read = 0;
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
             var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(Set.of(partition));
            consumer.seekToEnd(Set.of(partition));
            consumer.position(partition);
            long end = System.currentTimeMillis() + WAIT_MS;
            while (renewals(producer.metrics()) < 2 || renewals(consumer.metrics()) < 2) {
                if (System.currentTimeMillis() > end) {
                    throw new IllegalStateException("after " + WAIT_MS + " ms still " + renewals(producer.metrics()) + " and "
                        + renewals(consumer.metrics()) + " renewals");
                }
                producer.send(new ProducerRecord<>(args[2], 0, null, OWN)).get();
                written++;
                read += ownOf(consumer.poll(Duration.ofMillis(50)));
            }
            while (read < written && System.currentTimeMillis() < end) {
                read += ownOf(consumer.poll(Duration.ofMillis(50)));
            }
            System.out.println("authenticated again while it wrote and read; all is there: " + (read == written));
            System.out.println("failed: " + (int) total(producer.metrics(), "failed-reauthentication-total")
                + " and " + (int) total(consumer.metrics(), "failed-reauthentication-total"));
        }
    }

    /** Others write to the topic as well. */
    private static int ownOf(ConsumerRecords<String, String> records) {
        int own = 0;
        for (var record : records) {
            own += OWN.equals(record.value()) ? 1 : 0;
        }
        return own;
    }

    private static double renewals(Map<MetricName, ? extends Metric> metrics) {
        return total(metrics, "successful-reauthentication-total");
    }

    private static double total(Map<MetricName, ? extends Metric> metrics, String name) {
        return metrics.entrySet().stream().filter(metric -> metric.getKey().name().equals(name))
            .mapToDouble(metric -> ((Number) metric.getValue().metricValue()).doubleValue()).sum();
    }
}
