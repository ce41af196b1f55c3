import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.alibaba.nacos.api.naming.pojo.ListView;
import com.alibaba.nacos.common.utils.JacksonUtils;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.function.Predicate;

/** Drives nacos-client through the conformance checks: {@code java Check.java HOST:PORT PREFIX}. */
public class Check {
    private static final Map<String, String> METADATA = Map.of("zone", "east 1", "owner", "Zoë");
    /** Well below the 10 s after which this SDK polls: what arrives within it was pushed. */
    private static final long PUSH_LIMIT_MS = 2_000;
    /** The SDK polls once, 1 s after a subscription. */
    private static final long FIRST_POLL_MS = 1_500;
    private static final long BEAT_PERIOD_MS = 6_000;

    private static String address;
    private static String prefix;

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        prefix = arguments[1];
        // The address the SDK asks pushes to be sent to: everything stays on this machine.
        System.setProperty("com.alibaba.nacos.client.naming.local.ip", "127.0.0.1");
        Thread lifetime = new Thread(Check::lifetime);
        lifetime.start();
        try {
            basics();
            namespaces();
            subscriptions();
        } catch (Exception error) {
            error.printStackTrace();
        }
        lifetime.join();
        System.exit(0);
    }

    private static void basics() throws Exception {
        String service = prefix + "-basics";
        NamingService client = client("");
        check("server-status", () -> {
            expect(client.getServerStatus(), "UP"::equals);
            return "";
        });
        check("register", () -> {
            Instance weighted = instance("10.1.0.1", 8001);
            weighted.setWeight(2.5);
            weighted.setMetadata(METADATA);
            client.registerInstance(service, weighted);
            client.registerInstance(service, "10.1.0.2", 8002);
            return "";
        });
        registerRaw(service, "10.1.0.3", 8003, false);
        check("list", () -> {
            List<Instance> all =
                await(3_000, () -> client.getAllInstances(service, false), hosts -> hosts.size() == 3);
            Instance weighted = find(all, "10.1.0.1");
            expect(weighted.getWeight(), weight -> weight == 2.5);
            expect(weighted.getMetadata(), METADATA::equals);
            expect(find(all, "10.1.0.3").isHealthy(), healthy -> !healthy);
            return "";
        });
        check("list-healthy", () -> {
            expect(client.selectInstances(service, true, false),
                hosts -> hosts.size() == 2 && find(hosts, "10.1.0.3") == null);
            return "";
        });
        check("deregister", () -> {
            client.deregisterInstance(service, "10.1.0.2", 8002);
            await(3_000, () -> client.getAllInstances(service, false), hosts -> find(hosts, "10.1.0.2") == null);
            // A beat sent before it must not bring the instance back.
            Thread.sleep(BEAT_PERIOD_MS);
            expect(client.getAllInstances(service, false), hosts -> find(hosts, "10.1.0.2") == null);
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
        NamingService provider = client("");
        Watch watch = new Watch(provider, prefix + "-watch");
        check("subscribe-appear", () -> {
            long start = now();
            provider.registerInstance(watch.service, "10.3.0.2", 8002);
            watch.await(PUSH_LIMIT_MS, hosts -> hosts.size() == 2);
            return "pushed after " + (now() - start) + " ms";
        });
        check("subscribe-vanish", () -> {
            expect(find(watch.hosts, "10.3.0.2"), Check::alive);
            long start = now();
            provider.deregisterInstance(watch.service, "10.3.0.2", 8002);
            watch.await(PUSH_LIMIT_MS, hosts -> hosts.size() == 1);
            return "pushed after " + (now() - start) + " ms";
        });
        Watch crowd = new Watch(provider, prefix + "-crowd");
        check("subscribe-100", () -> {
            for (int number = 2; number <= 100; number++) {
                Instance instance = instance("10.3.0." + number, 8000 + number);
                instance.setMetadata(Map.of("zone", "z" + number % 3));
                provider.registerInstance(crowd.service, instance);
            }
            long start = now();
            List<Instance> hosts = crowd.await(PUSH_LIMIT_MS, seen -> seen.size() == 100);
            expect(find(hosts, "10.3.0.100").getMetadata(), Map.of("zone", "z1")::equals);
            return "pushed " + (now() - start) + " ms after the last";
        });
    }

    /** One instance that beats beside one that never does, for as long as the former takes to prove itself. */
    private static void lifetime() {
        String service = prefix + "-lifetime";
        try {
            NamingService provider = client("");
            Watch watch = new Watch(provider, service);
            Thread silent = new Thread(() -> {
                long start = now();
                check("expiry-unhealthy", () -> {
                    registerRaw(service, "10.4.0.9", 8009, true);
                    watch.await(5_000, hosts -> find(hosts, "10.4.0.9") != null);
                    watch.await(24_000, hosts -> !find(hosts, "10.4.0.9").isHealthy());
                    return age(start, 14_000, "unhealthy");
                });
                check("expiry-removed", () -> {
                    watch.await(24_000, hosts -> find(hosts, "10.4.0.9") == null);
                    return age(start, 29_000, "removed");
                });
            });
            silent.start();
            check("beats", () -> {
                while (now() - watch.start < 42_000) {
                    expect(find(provider.getAllInstances(service, false), "10.3.0.1"), Check::alive);
                    expect(find(watch.hosts, "10.3.0.1"), Check::alive);
                    Thread.sleep(500);
                }
                return "";
            });
            silent.join();
        } catch (Exception error) {
            error.printStackTrace();
        }
    }

    /** A service with one beating instance, 10.3.0.1:8001, and a subscriber to it that is past its first poll. */
    private static class Watch {
        final String service;
        final long start = now();
        volatile List<Instance> hosts = List.of();

        Watch(NamingService provider, String service) throws Exception {
            this.service = service;
            provider.registerInstance(service, "10.3.0.1", 8001);
            client("").subscribe(service, event -> hosts = ((NamingEvent) event).getInstances());
            await(3_000, seen -> seen.size() == 1);
            Thread.sleep(FIRST_POLL_MS);
        }

        List<Instance> await(long limitMs, Predicate<List<Instance>> wanted) throws Exception {
            return Check.await(limitMs, () -> hosts, wanted);
        }
    }

    private static boolean alive(Instance instance) {
        return instance != null && instance.isHealthy();
    }

    private static String age(long start, long leastMs, String what) {
        return what + " after " + expect(now() - start, age -> age >= leastMs) + " ms";
    }

    private static Instance find(Collection<Instance> hosts, String ip) {
        return hosts.stream().filter(host -> host.getIp().equals(ip)).findAny().orElse(null);
    }

    private static Instance instance(String ip, int port) {
        Instance instance = new Instance();
        instance.setIp(ip);
        instance.setPort(port);
        return instance;
    }

    private static NamingService client(String namespace) throws Exception {
        Properties properties = new Properties();
        properties.put("serverAddr", address);
        properties.put("namespace", namespace);
        return NacosFactory.createNamingService(properties);
    }

    /** Registers without the SDK, so that nobody beats for the instance. */
    private static void registerRaw(String service, String ip, int port, boolean healthy) throws Exception {
        String query = "serviceName=" + service + "&ip=" + ip + "&port=" + port + "&healthy=" + healthy;
        URI target = URI.create("http://" + address + "/nacos/v1/ns/instance?" + query);
        HttpRequest request = HttpRequest.newBuilder(target).POST(BodyPublishers.noBody()).build();
        HttpResponse<String> reply = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        expect(reply.body(), "ok"::equals);
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
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("check", name);
        try {
            line.put("detail", body.call());
            line.put("ok", true);
        } catch (Throwable error) {
            line.put("detail", error.toString());
            line.put("ok", false);
        }
        line.put("millis", now() - start);
        System.out.println(JacksonUtils.toJson(line));
    }

    private static long now() {
        return System.nanoTime() / 1_000_000;
    }
}
