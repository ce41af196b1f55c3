import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.alibaba.nacos.api.naming.pojo.ListView;

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.function.Predicate;

/**
 * Drives nacos-client 2.x and 3.x through the checks of gRPC: {@code java Grpc.java HOST:PORT PREFIX DIRECTORY}. With a
 * fourth argument, a service, the program registers one instance there and waits to be killed. Calls that not every
 * version has are found by reflection.
 */
public class Grpc {
    private static final Map<String, String> METADATA = Map.of("zone", "east 1", "owner", "Zoë");
    private static final String VICTIM = "10.5.0.9";
    /** Below the 6 s and more after which these SDKs poll: what arrives within the limit was pushed. */
    private static final long PUSH_LIMIT_MS = 2_000;
    private static final long RESTART_LIMIT_MS = 10_000;
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private static String address;
    private static String prefix;
    private static Path directory;

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        prefix = arguments[1];
        directory = Path.of(arguments[2]);
        if (arguments.length == 4) {
            client("").registerInstance(arguments[3], VICTIM, 8009);
            System.out.println("registered");
            Thread.sleep(Long.MAX_VALUE);
        }
        try {
            basics();
            namespaces();
            subscriptions();
            killed();
            restarted();
        } catch (Exception error) {
            error.printStackTrace();
        }
        System.exit(0);
    }

    private static void basics() throws Exception {
        String service = prefix + "-basics";
        // A connection holds one instance of a service, so each instance has a client of its own.
        NamingService one = client("");
        NamingService two = client("");
        check("server-status", () -> {
            await(5_000, one::getServerStatus, "UP"::equals);
            return "";
        });
        check("register", () -> {
            Instance weighted = instance("10.1.0.1", 8001);
            weighted.setWeight(2.5);
            weighted.setMetadata(METADATA);
            weighted.setClusterName("blue");
            one.registerInstance(service, weighted);
            two.registerInstance(service, "10.1.0.2", 8002);
            return "";
        });
        check("seen-by-http", () -> {
            String seen = await(2_000, () -> list(service), text -> text.contains("10.1.0.1") && text.contains("10.1.0.2"));
            for (String part : List.of("\"weight\":2.5", "\"zone\":\"east 1\"", "\"owner\":\"Zoë\"", "\"clusterName\":\"blue\"")) {
                expect(seen, text -> text.contains(part));
            }
            return "";
        });
        http("POST", service, "10.1.0.3", "healthy=false");
        check("list", () -> {
            List<Instance> all = await(3_000, () -> one.getAllInstances(service, false), hosts -> hosts.size() == 3);
            Instance weighted = find(all, "10.1.0.1");
            expect(weighted.getWeight(), weight -> weight == 2.5);
            expect(weighted.getMetadata(), METADATA::equals);
            expect(weighted.getClusterName(), "blue"::equals);
            expect(find(all, "10.1.0.2").getClusterName(), "DEFAULT"::equals);
            expect(find(all, "10.1.0.3").isHealthy(), healthy -> !healthy);
            return "";
        });
        check("list-healthy", () -> {
            expect(one.selectInstances(service, true, false),
                hosts -> hosts.size() == 2 && find(hosts, "10.1.0.3") == null);
            return "";
        });
        check("batch", () -> {
            Method batch = NamingService.class.getMethod("batchRegisterInstance", String.class, String.class, List.class);
            String many = prefix + "-batch";
            batch.invoke(one, many, "DEFAULT_GROUP", List.of(instance("10.1.1.1", 8001), instance("10.1.1.2", 8002)));
            await(3_000, () -> two.getAllInstances(many, false), hosts -> hosts.size() == 2);
            await(2_000, () -> list(many), text -> text.contains("10.1.1.1") && text.contains("10.1.1.2"));
            return "";
        });
        check("deregister", () -> {
            two.deregisterInstance(service, "10.1.0.2", 8002);
            await(3_000, () -> one.getAllInstances(service, false), hosts -> find(hosts, "10.1.0.2") == null);
            // The SDK repeats what it believes to be registered every 3 s; this instance is not repeated.
            Thread.sleep(3_500);
            expect(list(service), text -> !text.contains("10.1.0.2") && text.contains("10.1.0.1"));
            return "";
        });
    }

    private static void namespaces() throws Exception {
        String service = prefix + "-spaces";
        NamingService one = client(prefix + "-one");
        NamingService two = client(prefix + "-two");
        check("namespaces", () -> {
            one.registerInstance(service, "10.2.0.1", 8001);
            two.registerInstance(service, "10.2.0.2", 8002);
            await(3_000, () -> one.getAllInstances(service, false),
                hosts -> hosts.size() == 1 && find(hosts, "10.2.0.1") != null);
            await(3_000, () -> two.getAllInstances(service, false),
                hosts -> hosts.size() == 1 && find(hosts, "10.2.0.2") != null);
            return "";
        });
        check("service-list", () -> {
            ListView<String> services = one.getServicesOfServer(1, 10);
            expect(services.getCount(), count -> count == 1);
            expect(services.getData(), List.of(service)::equals);
            return "";
        });
    }

    private static void subscriptions() throws Exception {
        NamingService second = client("");
        Watch watch = new Watch(prefix + "-watch");
        check("subscribe-appear", () -> {
            long start = now();
            second.registerInstance(watch.service, "10.3.0.2", 8002);
            watch.await(hosts -> find(hosts, "10.3.0.2") != null);
            return "pushed after " + (now() - start) + " ms";
        });
        check("subscribe-vanish", () -> {
            expect(find(watch.hosts, "10.3.0.2"), host -> host != null);
            long start = now();
            second.deregisterInstance(watch.service, "10.3.0.2", 8002);
            watch.await(hosts -> find(hosts, "10.3.0.2") == null);
            return "pushed after " + (now() - start) + " ms";
        });
        check("http-appear", () -> {
            long start = now();
            http("POST", watch.service, "10.3.0.3", "weight=0.5");
            watch.await(hosts -> find(hosts, "10.3.0.3") != null && find(hosts, "10.3.0.3").getWeight() == 0.5);
            return "pushed after " + (now() - start) + " ms";
        });
        check("http-vanish", () -> {
            expect(find(watch.hosts, "10.3.0.3"), host -> host != null);
            long start = now();
            http("DELETE", watch.service, "10.3.0.3", "");
            watch.await(hosts -> find(hosts, "10.3.0.3") == null);
            return "pushed after " + (now() - start) + " ms";
        });
    }

    private static void killed() throws Exception {
        Watch watch = new Watch(prefix + "-killed");
        check("client-killed", () -> {
            Process victim = new ProcessBuilder(System.getProperty("java.home") + "/bin/java", "-Dfile.encoding=UTF-8",
                "-Duser.home=" + directory, "-cp", System.getProperty("sdk.jars"), System.getProperty("sdk.source"),
                address, prefix, directory.toString(), watch.service)
                .redirectError(new File(directory.toFile(), "victim.log")).start();
            try {
                BufferedReader said = new BufferedReader(new InputStreamReader(victim.getInputStream()));
                for (String line = said.readLine(); !"registered".equals(line); line = said.readLine()) {
                    expect(line, text -> text != null);
                }
                watch.await(hosts -> find(hosts, VICTIM) != null);
            } finally {
                victim.destroyForcibly();
            }
            long start = now();
            watch.await(hosts -> find(hosts, VICTIM) == null);
            return "gone after " + (now() - start) + " ms";
        });
    }

    /** Tells the caller that all else is done, by a file, and waits for the file that says that the server has restarted. */
    private static void restarted() throws Exception {
        Watch watch = new Watch(prefix + "-restart");
        Files.writeString(directory.resolve("ready"), "");
        while (!Files.exists(directory.resolve("restarted"))) {
            Thread.sleep(10);
        }
        check("server-restart", () -> {
            long start = now();
            await(RESTART_LIMIT_MS, () -> list(watch.service), text -> text.contains("10.3.0.1"));
            long back = now() - start;
            http("POST", watch.service, "10.3.0.4", "");
            Grpc.await(RESTART_LIMIT_MS - back, () -> watch.hosts,
                hosts -> find(hosts, "10.3.0.1") != null && find(hosts, "10.3.0.4") != null);
            return "back after " + back + " ms, subscribed again after " + (now() - start) + " ms";
        });
    }

    /** A service with one instance, 10.3.0.1:8001, and a subscriber to it. */
    private static class Watch {
        final String service;
        volatile List<Instance> hosts = List.of();

        Watch(String service) throws Exception {
            this.service = service;
            client("").registerInstance(service, "10.3.0.1", 8001);
            client("").subscribe(service, event -> hosts = ((NamingEvent) event).getInstances());
            Grpc.await(5_000, () -> hosts, seen -> seen.size() == 1);
        }

        void await(Predicate<List<Instance>> wanted) throws Exception {
            Grpc.await(PUSH_LIMIT_MS, () -> hosts, wanted);
        }
    }

    private static NamingService client(String namespace) throws Exception {
        Properties properties = new Properties();
        properties.put("serverAddr", address);
        properties.put("namespace", namespace);
        return NacosFactory.createNamingService(properties);
    }

    private static Instance instance(String ip, int port) {
        Instance instance = new Instance();
        instance.setIp(ip);
        instance.setPort(port);
        return instance;
    }

    private static Instance find(Collection<Instance> hosts, String ip) {
        return hosts.stream().filter(host -> host.getIp().equals(ip)).findAny().orElse(null);
    }

    /** Registers or deregisters over HTTP, as a client of 1.x does. */
    private static void http(String method, String service, String ip, String more) throws Exception {
        String query = "serviceName=" + service + "&ip=" + ip + "&port=8003&" + more;
        expect(call(method, "/nacos/v1/ns/instance?" + query), "ok"::equals);
    }

    /** What a client of 1.x is told of a service. */
    private static String list(String service) throws Exception {
        return call("GET", "/nacos/v1/ns/instance/list?serviceName=" + service);
    }

    private static String call(String method, String path) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://" + address + path))
            .method(method, BodyPublishers.noBody()).build();
        return HTTP.send(request, BodyHandlers.ofString(StandardCharsets.UTF_8)).body();
    }

    private static <T> T await(long limitMs, Callable<T> look, Predicate<T> wanted) throws Exception {
        long end = now() + limitMs;
        T seen = look.call();
        while (!wanted.test(seen) && now() < end) {
            Thread.sleep(10);
            seen = look.call();
        }
        if (!wanted.test(seen)) {
            throw new AssertionError("not within " + limitMs + " ms, last seen: " + seen);
        }
        return seen;
    }

    private static <T> T expect(T seen, Predicate<T> wanted) {
        if (!wanted.test(seen)) {
            throw new AssertionError("unexpected: " + seen);
        }
        return seen;
    }

    private static void check(String name, Callable<String> body) {
        long start = now();
        boolean ok = false;
        String detail;
        try {
            detail = body.call();
            ok = true;
        } catch (Throwable error) {
            error.printStackTrace();
            detail = error.toString();
        }
        // Printed by hand: where the JSON library lives differs between the versions.
        String quoted = detail.replaceAll("[\\x00-\\x1f]", " ").replace("\\", "\\\\").replace("\"", "\\\"");
        System.out.printf("{\"check\":\"%s\",\"ok\":%b,\"millis\":%d,\"detail\":\"%s\"}%n", name, ok, now() - start, quoted);
    }

    private static long now() {
        return System.nanoTime() / 1_000_000;
    }
}
