import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeSet;
import java.util.zip.ZipFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/**
 * Writes every message that Kafka's jars define, in every version, as Kafka itself serialises it:
 * one line each of "name version filling hex json", the JSON by Kafka's own converter.
 *
 * A message is filled by reflection, led by the schema that Kafka generates beside it, which says what is there in a
 * version and what may be null.
 */
public class Golden {
    /** What goes into the fields. */
    enum Filling {
        /** As constructed. */
        DEFAULT,
        /** The lowest numbers, nothing in strings and arrays. */
        LOW,
        /** The highest numbers, non-ASCII strings, two elements, every tagged field, and one that nobody knows. */
        HIGH,
        /** A different number in every field, so that two that are swapped show; three elements. */
        DISTINCT,
        /** The same, but null wherever null may be. */
        NULL
    }

    private final Filling filling;
    private long counter = 0;

    private Golden(Filling filling) {
        this.filling = filling;
    }

    public static void main(String[] jars) throws Exception {
        StringBuilder out = new StringBuilder();
        for (String jar : jars) {
            for (String name : messageClasses(jar)) {
                writeMessage(out, Class.forName(name));
            }
        }
        System.out.write(out.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    /** The classes in a jar that have a JSON converter beside them: the generated messages. */
    private static TreeSet<String> messageClasses(String jar) throws Exception {
        TreeSet<String> found = new TreeSet<>();
        try (ZipFile zip = new ZipFile(jar)) {
            zip.stream().map(entry -> entry.getName()).filter(name -> name.endsWith("JsonConverter.class") && !name.contains("$"))
                .map(name -> name.replace("JsonConverter.class", "").replace('/', '.'))
                .forEach(found::add);
        }
        return found;
    }

    private static void writeMessage(StringBuilder out, Class<?> type) throws Exception {
        if (!Message.class.isAssignableFrom(type)) {
            return;
        }
        short lowest = type.getField("LOWEST_SUPPORTED_VERSION").getShort(null);
        short highest = type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null);
        Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        String name = type.getSimpleName().replaceFirst("(Request|Response|Header)Data$", "$1");
        Method json = Class.forName(type.getName() + "JsonConverter").getMethod("write", type, short.class, boolean.class);
        for (short version = lowest; version <= highest; version++) {
            for (Filling filling : Filling.values()) {
                Message message = (Message) type.getConstructor().newInstance();
                new Golden(filling).fill(message, schemas[version]);
                ByteBufferAccessor bytes = MessageUtil.toByteBufferAccessor(message, version);
                out.append(name).append(' ').append(version).append(' ').append(filling).append(' ')
                    .append(HexFormat.of().formatHex(MessageUtil.byteBufferToArray(bytes.buffer()))).append(' ')
                    .append(json.invoke(null, message, version, false)).append('\n');
            }
        }
    }

    /** Sets the fields that the schema has. */
    private void fill(Object target, Schema schema) throws Exception {
        if (filling == Filling.DEFAULT) {
            return;
        }
        for (BoundField field : schema.fields()) {
            if (!(field.def.type instanceof TaggedFields tagged)) {
                set(target, field.def.name, field.def.type);
                continue;
            }
            for (org.apache.kafka.common.protocol.types.Field known : tagged.fields().values()) {
                set(target, known.name, known.type);
            }
            if (filling == Filling.HIGH) {
                List<RawTaggedField> unknown = ((Message) target).unknownTaggedFields();
                unknown.add(new RawTaggedField(10_000, "unknown".getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    private void set(Object target, String name, Type type) throws Exception {
        Field field = javaField(target.getClass(), name);
        field.setAccessible(true);
        field.set(target, value(field.getType(), field.getGenericType(), type));
    }

    /** The Java field whose name differs from the schema's only in underscores and case. */
    private static Field javaField(Class<?> owner, String name) throws NoSuchFieldException {
        String wanted = name.replace("_", "");
        for (Field field : owner.getDeclaredFields()) {
            if (field.getName().replace("_", "").equalsIgnoreCase(wanted)) {
                return field;
            }
        }
        throw new NoSuchFieldException(owner + "." + name);
    }

    private Object value(Class<?> java, java.lang.reflect.Type generic, Type type) throws Exception {
        counter++;
        if (filling == Filling.NULL && type.isNullable()) {
            return null;
        }
        if (type.isArray()) {
            return array(java, generic, type);
        }
        if (type instanceof Schema schema) {
            Object struct = construct(java);
            fill(struct, schema);
            return struct;
        }
        return switch (java.getSimpleName()) {
            case "boolean" -> filling == Filling.HIGH || (filling == Filling.DISTINCT && counter % 2 == 0);
            case "byte", "Byte" -> (byte) number(Byte.MIN_VALUE, Byte.MAX_VALUE);
            case "short", "Short" -> (short) number(Short.MIN_VALUE, Short.MAX_VALUE);
            case "int", "Integer" -> type.toString().equals("UINT16")
                ? (int) number(0, 0xffff) : (int) number(Integer.MIN_VALUE, Integer.MAX_VALUE);
            case "long", "Long" -> type.toString().equals("UINT32")
                ? number(0, 0xffffffffL) : number(Long.MIN_VALUE, Long.MAX_VALUE);
            case "double" -> switch (filling) {
                case LOW -> -Double.MAX_VALUE;
                case HIGH -> Double.MAX_VALUE;
                default -> counter + 0.5;
            };
            case "String" -> switch (filling) {
                case LOW -> "";
                case HIGH -> "Grüße, 世界 🦀 \"\\\n" + "x".repeat(120);
                default -> "text" + counter;
            };
            case "Uuid" -> switch (filling) {
                case LOW -> Uuid.ZERO_UUID;
                case HIGH -> new Uuid(-1, -1);
                default -> new Uuid(counter, ~counter);
            };
            case "byte[]" -> bytes();
            case "ByteBuffer" -> ByteBuffer.wrap(bytes());
            case "BaseRecords" -> Class.forName(java.getPackageName() + ".MemoryRecords")
                .getMethod("readableRecords", ByteBuffer.class).invoke(null, ByteBuffer.wrap(bytes()));
            default -> throw new IllegalStateException("no value for " + java + " of schema type " + type);
        };
    }

    private Object array(Class<?> java, java.lang.reflect.Type generic, Type type) throws Exception {
        Class<?> elementClass = elementClass(java, generic);
        @SuppressWarnings("unchecked")
        Collection<Object> elements = java == List.class ? new ArrayList<>() : (Collection<Object>) construct(java);
        int count = switch (filling) {
            case LOW -> 0;
            case HIGH -> 2;
            default -> 3;
        };
        for (int i = 0; i < count; i++) {
            elements.add(value(elementClass, elementClass, type.arrayElementType().get()));
        }
        return elements;
    }

    /** What a list holds, or one of Kafka's own collections, which name it in their superclass. */
    private static Class<?> elementClass(Class<?> java, java.lang.reflect.Type generic) {
        java.lang.reflect.Type from = java == List.class ? generic : java.getGenericSuperclass();
        return (Class<?>) ((ParameterizedType) from).getActualTypeArguments()[0];
    }

    private static Object construct(Class<?> java) throws Exception {
        Constructor<?> constructor = java.getDeclaredConstructor();
        constructor.setAccessible(true);
        return constructor.newInstance();
    }

    private long number(long lowest, long highest) {
        return switch (filling) {
            case LOW -> lowest;
            case HIGH -> highest;
            default -> counter % 125 + 1;
        };
    }

    private byte[] bytes() {
        return switch (filling) {
            case LOW -> new byte[0];
            case HIGH -> new byte[2000];
            default -> ("bytes" + counter).getBytes(StandardCharsets.UTF_8);
        };
    }
}
