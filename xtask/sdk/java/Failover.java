import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.alibaba.nacos.common.utils.JacksonUtils;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;

/**
 * An application with nacos-client and the addresses of all servers, while these die one by one:
 * {@code java Failover.java HOST:PORT,HOST:PORT,... PREFIX STOP_FILE}. Prints a line when it is ready, and what it saw
 * once STOP_FILE exists.
 */
public class Failover {
    private static final int SERVICES = 5;
    private static final int INSTANCES = 2;

    private static final AtomicLong calls = new AtomicLong();
    private static final AtomicLong looks = new AtomicLong();
    private static final AtomicLong events = new AtomicLong();
    private static final AtomicReference<String> exception = new AtomicReference<>();
    private static final AtomicReference<String> shortList = new AtomicReference<>();
    private static final AtomicReference<String> shortEvent = new AtomicReference<>();

    private interface Call {
        void make() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("com.alibaba.nacos.client.naming.local.ip", "127.0.0.1");
        String addresses = arguments[0];
        String prefix = arguments[1];
        Path stop = Path.of(arguments[2]);
        NamingService provider = client(addresses);
        NamingService consumer = client(addresses);
        for (int service = 0; service < SERVICES; service++) {
            for (int number = 0; number < INSTANCES; number++) {
                provider.registerInstance(prefix + service, "10.3.0." + (number + 1), 8000 + service);
            }
        }
        for (int service = 0; service < SERVICES; service++) {
            await(consumer, prefix + service);
            consumer.subscribe(prefix + service, event -> {
                events.incrementAndGet();
                List<Instance> seen = ((NamingEvent) event).getInstances();
                note(shortEvent, seen.stream().filter(Instance::isHealthy).count() < INSTANCES, seen.toString());
            });
        }
        report("ready", true, "");
        while (!Files.exists(stop)) {
            for (int service = 0; service < SERVICES; service++) {
                String name = prefix + service;
                // What a server says, and what the subscription knows.
                call(() -> look(consumer.getAllInstances(name, false)));
                call(() -> look(consumer.getAllInstances(name)));
            }
            call(() -> provider.registerInstance(prefix + "churn", "10.3.1.1", 9000));
            call(() -> provider.deregisterInstance(prefix + "churn", "10.3.1.1", 9000));
            Thread.sleep(100);
        }
        report("no-exception", exception.get() == null, text(exception, calls.get() + " calls"));
        report("no-short-list", shortList.get() == null, text(shortList, looks.get() + " lists"));
        report("no-short-event", shortEvent.get() == null, text(shortEvent, events.get() + " events"));
        System.exit(0);
    }

    private static void call(Call call) {
        calls.incrementAndGet();
        try {
            call.make();
        } catch (Exception error) {
            note(exception, true, error.toString());
            error.printStackTrace();
        }
    }

    private static void look(List<Instance> seen) {
        looks.incrementAndGet();
        note(shortList, seen.stream().filter(Instance::isHealthy).count() < INSTANCES, seen.toString());
    }

    private static void await(NamingService consumer, String service) throws Exception {
        for (int look = 0; look < 100; look++) {
            if (consumer.getAllInstances(service, false).size() == INSTANCES) {
                return;
            }
            Thread.sleep(50);
        }
        throw new IllegalStateException(service + " never had its instances");
    }

    private static void note(AtomicReference<String> first, boolean bad, String what) {
        if (bad) {
            first.compareAndSet(null, java.time.LocalTime.now() + " " + what);
        }
    }

    private static String text(AtomicReference<String> problem, String otherwise) {
        return problem.get() == null ? otherwise : problem.get();
    }

    private static NamingService client(String addresses) throws Exception {
        Properties properties = new Properties();
        properties.put("serverAddr", addresses);
        return NacosFactory.createNamingService(properties);
    }

    private static void report(String check, boolean ok, String detail) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("check", check);
        line.put("ok", ok);
        line.put("millis", 0);
        line.put("detail", detail);
        System.out.println(JacksonUtils.toJson(line));
    }
}
