import com.alibaba.nacos.api.PropertyKeyConst;
import com.alibaba.nacos.api.exception.NacosException;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.alibaba.nacos.api.naming.pojo.Service;
import com.alibaba.nacos.api.naming.pojo.healthcheck.impl.Http;
import com.alibaba.nacos.api.naming.pojo.maintainer.ClusterInfo;
import com.alibaba.nacos.maintainer.client.naming.NamingMaintainerFactory;
import com.alibaba.nacos.maintainer.client.naming.NamingMaintainerService;

import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;

/**
 * Drives nacos-maintainer-client through what it does about services, clients and members:
 * {@code java Maintainer.java HOST:PORT PREFIX}. Each check prints one line of JSON.
 *
 * <p>Left out are calls of this version that fail with every server: {@code getHealthCheckers}, {@code getClientList}
 * and {@code listSelectorTypes} read their answers without the envelope in which servers of 3.x send them, and
 * {@code readiness} asks for a path that no server has.
 */
public class Maintainer {
    private interface Body {
        void run() throws Exception;
    }

    private static NamingMaintainerService maintainer;
    private static String namespace;

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty(PropertyKeyConst.SERVER_ADDR, arguments[0]);
        maintainer = NamingMaintainerFactory.createNamingMaintainerService(properties);
        namespace = arguments[1];
        check("state", Maintainer::state);
        check("namespaces", Maintainer::namespaces);
        check("services", Maintainer::services);
        check("instances", Maintainer::instances);
        check("metadata", Maintainer::metadata);
        check("clusters", Maintainer::clusters);
        check("clients", Maintainer::clients);
        check("members", Maintainer::members);
        System.exit(0);
    }

    private static void check(String name, Body body) {
        long begun = System.currentTimeMillis();
        String detail = "";
        try {
            body.run();
        } catch (Throwable error) {
            error.printStackTrace();
            detail = String.valueOf(error).replaceAll("[^ -~]|[\"\\\\]", " ");
        }
        System.out.printf("{\"check\":\"%s\",\"ok\":%s,\"millis\":%d,\"detail\":\"%s\"}%n",
            name, detail.isEmpty(), System.currentTimeMillis() - begun, detail);
    }

    private static void same(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) {
            throw new AssertionError(found + " is not " + wanted);
        }
    }

    private static Service service(String name) {
        Service service = new Service();
        service.setNamespaceId(namespace);
        service.setGroupName("group");
        service.setName(name);
        service.setEphemeral(true);
        return service;
    }

    private static Instance instance(String ip) {
        Instance instance = new Instance();
        instance.setIp(ip);
        instance.setPort(8080);
        instance.setClusterName("DEFAULT");
        instance.setWeight(1);
        instance.setEphemeral(true);
        instance.setMetadata(Map.of("zone", "east 1", "owner", "Zoë"));
        return instance;
    }

    private static void state() throws NacosException {
        same(maintainer.liveness(), true);
        same(maintainer.getServerState().get("function_mode"), "naming");
        same(maintainer.getMetrics(true).getStatus(), "UP");
    }

    private static void namespaces() throws NacosException {
        same(maintainer.createNamespace(namespace, "made by a maintainer", "for a check"), true);
        same(maintainer.checkNamespaceIdExist(namespace), true);
        same(maintainer.getNamespace(namespace).getNamespaceShowName(), "made by a maintainer");
        same(maintainer.updateNamespace(namespace, "renamed", "for a check"), true);
        boolean isListed = maintainer.getNamespaceList().stream()
            .anyMatch(one -> one.getNamespace().equals(namespace) && one.getNamespaceShowName().equals("renamed"));
        same(isListed, true);
        same(maintainer.deleteNamespace(namespace), true);
        same(maintainer.checkNamespaceIdExist(namespace), false);
    }

    private static void services() throws NacosException {
        Service made = service("made");
        made.setProtectThreshold(0.5f);
        made.setMetadata(Map.of("team", "a"));
        same(maintainer.createService(made), "ok");
        same(maintainer.getServiceDetail(made).getProtectThreshold(), 0.5f);
        made.setProtectThreshold(0.25f);
        made.setMetadata(Map.of("team", "b"));
        same(maintainer.updateService(made), "ok");
        same(maintainer.getServiceDetail(made).getMetadata(), Map.of("team", "b"));
        same(maintainer.listServices(namespace, "group", "mad", false, 1, 10).getTotalCount(), 1);
        same(maintainer.listServicesWithDetail(namespace, "group", "made", 1, 10).getPageItems().get(0).getProtectThreshold(), 0.25f);
        same(maintainer.removeService(made), "ok");
        try {
            maintainer.getServiceDetail(made);
            throw new AssertionError("a service that was removed is there");
        } catch (NacosException expected) {
            same(maintainer.listServices(namespace, "group", "made", false, 1, 10).getTotalCount(), 0);
        }
    }

    private static void instances() throws NacosException {
        Service service = service("instances");
        same(maintainer.registerInstance(service, instance("10.0.0.1")), "ok");
        same(maintainer.registerInstance(service, instance("10.0.0.2")), "ok");
        List<Instance> listed = maintainer.listInstances(service, "DEFAULT", false);
        same(listed.size(), 2);
        same(listed.get(0).getMetadata(), Map.of("zone", "east 1", "owner", "Zoë"));
        Instance offline = instance("10.0.0.1");
        offline.setEnabled(false);
        offline.setWeight(3);
        same(maintainer.updateInstance(service, offline), "ok");
        Instance detail = maintainer.getInstanceDetail(service, offline);
        same(List.of(detail.isEnabled(), detail.getWeight(), detail.isHealthy()), List.of(false, 3.0, true));
        Instance part = instance("10.0.0.1");
        part.setMetadata(Map.of("colour", "green"));
        same(maintainer.partialUpdateInstance(service, part), "ok");
        detail = maintainer.getInstanceDetail(service, offline);
        same(List.of(detail.isEnabled(), detail.getMetadata().get("colour"), detail.getMetadata().get("zone")), List.of(true, "green", "east 1"));
        for (String ip : List.of("10.0.0.1", "10.0.0.2")) {
            same(maintainer.deregisterInstance(service, instance(ip)), "ok");
        }
        same(maintainer.listServices(namespace, "group", "instances", true, 1, 10).getTotalCount(), 0);
    }

    private static void metadata() throws NacosException {
        Service service = service("metadata");
        Instance instance = instance("10.0.1.1");
        maintainer.registerInstance(service, instance);
        same(maintainer.batchUpdateInstanceMetadata(service, List.of(instance), Map.of("zone", "west")).getUpdated().size(), 1);
        same(maintainer.getInstanceDetail(service, instance).getMetadata().get("zone"), "west");
        same(maintainer.batchDeleteInstanceMetadata(service, List.of(instance), Map.of("zone", "")).getUpdated().size(), 1);
        same(maintainer.getInstanceDetail(service, instance).getMetadata().containsKey("zone"), false);
        maintainer.deregisterInstance(service, instance);
    }

    private static void clusters() throws NacosException {
        Service service = service("clusters");
        Instance instance = instance("10.0.2.1");
        instance.setEphemeral(false);
        service.setEphemeral(false);
        maintainer.registerInstance(service, instance);
        ClusterInfo cluster = new ClusterInfo();
        cluster.setClusterName("DEFAULT");
        cluster.setHealthyCheckPort(8081);
        cluster.setUseInstancePortForCheck(false);
        Http checker = new Http();
        checker.setPath("/health");
        cluster.setHealthChecker(checker);
        cluster.setMetadata(Map.of("k", "v"));
        same(maintainer.updateCluster(service, cluster), "ok");
        ClusterInfo found = maintainer.getServiceDetail(service).getClusterMap().get("DEFAULT");
        same(List.of(found.getHealthChecker().getType(), found.getHealthyCheckPort()), List.of("HTTP", 8081));
        same(maintainer.deregisterInstance(service, instance), "ok");
    }

    private static void clients() throws NacosException {
        Service service = service("clients");
        Instance instance = instance("10.0.3.1");
        maintainer.registerInstance(service, instance);
        String id = "10.0.3.1:8080#true";
        same(maintainer.getClientDetail(id).getClientId(), id);
        same(maintainer.getPublishedServiceList(id).get(0).getServiceName(), "clients");
        same(maintainer.getSubscribeServiceList(id).size(), 0);
        same(maintainer.getPublishedClientList(namespace, "group", "clients", "10.0.3.1", 8080).get(0).getClientId(), id);
        same(maintainer.getSubscribers(service, 1, 10, false).getTotalCount(), 0);
        maintainer.deregisterInstance(service, instance);
    }

    private static void members() throws NacosException {
        same(maintainer.listClusterNodes("", "").size() > 0, true);
        same(maintainer.getCurrentClients() != null, true);
        same(maintainer.getClusterLoaderMetrics().getMemberCount() > 0, true);
        maintainer.updateLogLevel("naming-main", "INFO");
    }
}
