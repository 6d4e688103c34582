import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;

import org.apache.kafka.common.utils.Exit;

/**
 * Kafka's command-line tools, one after another in one process, as each start of Java costs more than the tool itself.
 *
 * A line of standard input is one call: the file that becomes the tool's standard output and error, the file that is its
 * standard input, its main class and its arguments, parted by the character 31. The answer is a line with the status with
 * which the tool would have ended its process. Log lines go to this process's standard error. It ends with its input.
 */
public final class Tools {
    private static final String SEPARATOR = "\u001f";

    /** Where a tool would have ended its process. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1;

        private Ended() {
            super(null, null, false, false);
        }
    }

    /** Standard output: Scala keeps the stream that it finds first, so that only what is behind it may change. */
    private static final class Switch extends OutputStream {
        private volatile OutputStream target = OutputStream.nullOutputStream();

        @Override
        public void write(int octet) throws IOException {
            target.write(octet);
        }

        @Override
        public void write(byte[] octets, int offset, int length) throws IOException {
            target.write(octets, offset, length);
        }

        @Override
        public void flush() throws IOException {
            target.flush();
        }
    }

    private final Switch output = new Switch();
    private final List<Runnable> hooks = new ArrayList<>();
    /** The status of the tool that runs, once it would have ended its process. */
    private Integer ended;

    public static void main(String[] args) throws Exception {
        var answers = System.out;
        var calls = new LinkedBlockingQueue<String>();
        var reader = new Thread(() -> read(System.in, calls));
        reader.setDaemon(true);
        // The log's appender takes hold of standard error before it is a tool's.
        org.slf4j.LoggerFactory.getLogger(Tools.class);
        reader.start();
        var tools = new Tools();
        while (true) {
            answers.println(tools.call(calls.take().split(SEPARATOR, -1)));
            answers.flush();
        }
    }

    private Tools() {
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        var stream = new PrintStream(output, true, StandardCharsets.UTF_8);
        System.setOut(stream);
        System.setErr(stream);
    }

    /** Whoever asks is gone at the end of the input, also while a tool still runs. */
    private static void read(InputStream input, LinkedBlockingQueue<String> calls) {
        try (var lines = new BufferedReader(new InputStreamReader(input, StandardCharsets.UTF_8))) {
            for (var line = lines.readLine(); line != null; line = lines.readLine()) {
                calls.add(line);
            }
        } catch (IOException error) {
            error.printStackTrace();
        }
        Runtime.getRuntime().halt(0);
    }

    /** Nothing that follows in the tool would have happened: some catch the error, and say so. */
    private void end(int status) {
        if (ended == null) {
            ended = status;
            hooks.forEach(Runnable::run);
            System.out.flush();
            output.target = OutputStream.nullOutputStream();
        }
        throw new Ended();
    }

    private int call(String[] words) throws Exception {
        try (var to = new FileOutputStream(words[0]); var from = new FileInputStream(words[1])) {
            output.target = to;
            ended = null;
            hooks.clear();
            System.setIn(from);
            var main = Class.forName(words[2]).getMethod("main", String[].class);
            try {
                main.invoke(null, (Object) Arrays.copyOfRange(words, 3, words.length));
                end(0);
            } catch (InvocationTargetException error) {
                fail(error.getCause());
            } catch (Ended end) {
                // As every tool ends.
            }
            return ended;
        }
    }

    private void fail(Throwable error) {
        try {
            System.err.print("Exception in thread \"main\" ");
            error.printStackTrace();
            end(1);
        } catch (Ended end) {
            // The first end counts.
        }
    }
}
