import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's console tools one after another in one process, as starting Java takes longer than most of them do.
 *
 * A line of standard input is a tool's standard input, its main class and its arguments, parted by the unit separator;
 * what the tool says on either stream is printed, and then a line that holds just the end-of-transmission character. Of
 * classes of our own, without a package, only the standard output is: what the client logs is not theirs.
 */
public final class ToolShell {
    private static final String PARTS = "\u001f";
    private static final String END = "\u0004";
    private static final long TOOL_SECONDS_MAX = 100;

    private static ByteArrayOutputStream said = new ByteArrayOutputStream();
    private static volatile boolean ofOurOwn;
    private static volatile CountDownLatch ended = new CountDownLatch(1);
    private static final List<Runnable> atExit = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        var out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        // Also what the logging library says, which looks at the stream once.
        var capture = new PrintStream(new OutputStream() {
            @Override
            public void write(int b) {
                synchronized (ToolShell.class) {
                    said.write(b);
                }
            }
        }, true, StandardCharsets.UTF_8);
        var log = new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8);
        System.setOut(capture);
        System.setErr(new PrintStream(new OutputStream() {
            @Override
            public void write(int b) {
                (ofOurOwn ? log : capture).write(b);
            }
        }, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> exit());
        Exit.setHaltProcedure((code, message) -> exit());
        Exit.setShutdownHookAdder((name, hook) -> {
            synchronized (atExit) {
                atExit.add(hook);
            }
        });
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split(PARTS, -1);
            run(parts[1], parts[0], Arrays.copyOfRange(parts, 2, parts.length));
            synchronized (ToolShell.class) {
                out.print(said.toString(StandardCharsets.UTF_8));
                said = new ByteArrayOutputStream();
            }
            out.println();
            out.println(END);
        }
    }

    /** What a tool's wish to exit becomes: its thread goes no further, and the process goes on. */
    private static void exit() {
        ended.countDown();
        while (true) {
            LockSupport.park();
        }
    }

    private static void run(String tool, String input, String[] args) throws InterruptedException {
        ofOurOwn = !tool.contains(".");
        System.setIn(new ByteArrayInputStream((input.isEmpty() ? "" : input + "\n").getBytes(StandardCharsets.UTF_8)));
        ended = new CountDownLatch(1);
        var thread = new Thread(() -> call(tool, args), tool);
        thread.setDaemon(true);
        thread.start();
        if (!ended.await(TOOL_SECONDS_MAX, TimeUnit.SECONDS)) {
            System.out.println(tool + " does not end");
        }
        List<Runnable> hooks;
        synchronized (atExit) {
            hooks = new ArrayList<>(atExit);
            atExit.clear();
        }
        hooks.forEach(Runnable::run);
    }

    private static void call(String tool, String[] args) {
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) args);
        } catch (InvocationTargetException e) {
            System.out.println(e.getCause());
        } catch (ReflectiveOperationException e) {
            System.out.println(e);
        }
        ended.countDown();
    }
}
