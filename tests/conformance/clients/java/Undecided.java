import java.io.DataInputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceRequestData.PartitionProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceDataCollection;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.requests.ProduceResponse;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Leaves a transaction undecided: Undecided BOOTSTRAP open|hang TOPIC ID; prints what the broker answered.
 *
 * `open` is what a producer leaves that dies. `hang` writes a record of a transaction that its coordinator is never told of,
 * as old clients could: it stays for good where the broker does not verify it (KIP-890).
 */
public final class Undecided {
    /** The last version in which the broker does not itself add the partition to the transaction. */
    private static final short VERSION = 11;
    /** Long enough ago for `kafka-transactions find-hanging`. */
    private static final long AGE_MS = 3_600_000;

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String topic = args[2];
        String id = args[3];
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "transactional.id", id);
        var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        if (args[1].equals("open")) {
            producer.beginTransaction();
            var record = new ProducerRecord<>(topic, 0, System.currentTimeMillis() - AGE_MS, "key", "open");
            System.out.println("NONE at " + producer.send(record).get().offset());
        } else {
            try (var admin = Admin.create(config)) {
                var known = admin.describeTransactions(List.of(id)).description(id).get();
                var record = new SimpleRecord(System.currentTimeMillis() - AGE_MS, "key".getBytes(), "hanging".getBytes());
                var batch = MemoryRecords.withTransactionalRecords(Compression.NONE, known.producerId(), (short) known.producerEpoch(), 0, record);
                System.out.println(produce(bootstrap, topic, id, batch));
            }
        }
        // Closed at leisure, it would abort.
        producer.close(Duration.ZERO);
    }

    private static String produce(String bootstrap, String topic, String id, MemoryRecords batch) throws Exception {
        var partition = new PartitionProduceData().setIndex(0).setRecords(batch);
        var topics = new TopicProduceDataCollection();
        topics.add(new TopicProduceData().setName(topic).setPartitionData(List.of(partition)));
        var data = new ProduceRequestData().setTransactionalId(id).setAcks((short) -1).setTimeoutMs(30_000).setTopicData(topics);
        var header = new RequestHeader(ApiKeys.PRODUCE, VERSION, "an-old-client", 1);
        ByteBuffer request = new ProduceRequest(data, VERSION).serializeWithHeader(header);
        int colon = bootstrap.lastIndexOf(':');
        try (var socket = new Socket(bootstrap.substring(0, colon), Integer.parseInt(bootstrap.substring(colon + 1)))) {
            var output = socket.getOutputStream();
            output.write(ByteBuffer.allocate(Integer.BYTES).putInt(request.remaining()).array());
            output.write(request.array(), request.arrayOffset() + request.position(), request.remaining());
            output.flush();
            var input = new DataInputStream(socket.getInputStream());
            var answer = ByteBuffer.wrap(input.readNBytes(input.readInt()));
            var response = (ProduceResponse) AbstractResponse.parseResponse(answer, header);
            var told = response.data().responses().find(topic, Uuid.ZERO_UUID).partitionResponses().get(0);
            return Errors.forCode(told.errorCode()) + " at " + told.baseOffset();
        }
    }

    private Undecided() {
    }
}
