// Drives nacos-sdk-go v2 through the checks of gRPC: check HOST:PORT PREFIX DIRECTORY. With a fourth argument, a
// service, the program registers one instance there and waits to be killed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

const (
	// Below the 10 s after which this SDK polls: what arrives within the limit was pushed.
	pushLimit    = 2 * time.Second
	restartLimit = 10 * time.Second
	// Longer than the 3 s after which the SDK repeats what it believes to be registered.
	redoPeriod = 3500 * time.Millisecond
	victim     = "10.5.0.9"
)

var (
	address   string
	prefix    string
	directory string // for the SDK's logs and caches
	clientNo  atomic.Int32
	metadata  = map[string]string{"zone": "east 1", "owner": "Zoë"}
)

func main() {
	address, prefix, directory = os.Args[1], os.Args[2], os.Args[3]
	if len(os.Args) > 4 {
		register(newClient(""), instance(os.Args[4], victim, 8009))
		fmt.Println("registered")
		time.Sleep(time.Hour)
	}
	basics()
	namespaces()
	subscriptions()
	killed()
	restarted()
}

func basics() {
	service := prefix + "-basics"
	// A connection holds one instance of a service, so each instance has a client of its own.
	one, two := newClient(""), newClient("")
	check("server-status", func() string {
		await(5*time.Second, one.ServerHealthy, func(healthy bool) bool { return healthy })
		return ""
	})
	check("register", func() string {
		weighted := instance(service, "10.1.0.1", 8001)
		weighted.Weight, weighted.Metadata, weighted.ClusterName = 2.5, metadata, "blue"
		register(one, weighted)
		register(two, instance(service, "10.1.0.2", 8002))
		return ""
	})
	check("seen-by-http", func() string {
		hosts := await(2*time.Second, httpList(service), count(2))
		weighted := find(hosts, "10.1.0.1")
		expect(weighted != nil && weighted.Weight == 2.5 && reflect.DeepEqual(weighted.Metadata, metadata), hosts)
		expect(weighted.ClusterName == "blue" && find(hosts, "10.1.0.2") != nil, hosts)
		return ""
	})
	httpWrite(http.MethodPost, service, "10.1.0.3", "healthy", "false")
	check("list", func() string {
		// A list subscribes, and is answered from what was pushed since.
		hosts := await(3*time.Second, list(one, service), count(3))
		weighted := find(hosts, "10.1.0.1")
		expect(weighted.Weight == 2.5 && reflect.DeepEqual(weighted.Metadata, metadata), hosts)
		expect(weighted.ClusterName == "blue" && find(hosts, "10.1.0.2").ClusterName == "DEFAULT", hosts)
		expect(!find(hosts, "10.1.0.3").Healthy, hosts)
		return ""
	})
	check("list-healthy", func() string {
		hosts, err := one.SelectInstances(vo.SelectInstancesParam{ServiceName: service, HealthyOnly: true})
		expect(err == nil && len(hosts) == 2 && find(hosts, "10.1.0.3") == nil, hosts, err)
		return ""
	})
	check("batch", func() string {
		many := prefix + "-batch"
		ok, err := one.BatchRegisterInstance(vo.BatchRegisterInstanceParam{ServiceName: many, Instances: []vo.RegisterInstanceParam{
			instance(many, "10.1.1.1", 8001), instance(many, "10.1.1.2", 8002),
		}})
		expect(ok && err == nil, err)
		await(3*time.Second, list(two, many), count(2))
		await(2*time.Second, httpList(many), count(2))
		return ""
	})
	check("deregister", func() string {
		deregister(two, service, "10.1.0.2", 8002)
		gone := func(hosts []model.Instance) bool { return find(hosts, "10.1.0.2") == nil }
		await(3*time.Second, list(one, service), gone)
		time.Sleep(redoPeriod)
		hosts := httpList(service)()
		expect(gone(hosts) && find(hosts, "10.1.0.1") != nil, hosts)
		return ""
	})
}

func namespaces() {
	service := prefix + "-spaces"
	one, two := newClient(prefix+"-one"), newClient(prefix+"-two")
	check("namespaces", func() string {
		register(one, instance(service, "10.2.0.1", 8001))
		register(two, instance(service, "10.2.0.2", 8002))
		only := func(ip string) func([]model.Instance) bool {
			return func(hosts []model.Instance) bool { return len(hosts) == 1 && hosts[0].Ip == ip }
		}
		await(3*time.Second, list(one, service), only("10.2.0.1"))
		await(3*time.Second, list(two, service), only("10.2.0.2"))
		return ""
	})
	check("service-list", func() string {
		services, err := one.GetAllServicesInfo(vo.GetAllServiceInfoParam{NameSpace: prefix + "-one", PageNo: 1, PageSize: 10})
		expect(err == nil && services.Count == 1 && reflect.DeepEqual(services.Doms, []string{service}), services, err)
		return ""
	})
}

func subscriptions() {
	second := newClient("")
	watched := newWatch(prefix + "-watch")
	// What it takes until the subscriber is told of a change.
	told := func(change func(), wanted func([]model.Instance) bool) string {
		start := time.Now()
		change()
		await(pushLimit, watched.hosts, wanted)
		return fmt.Sprintf("pushed after %d ms", time.Since(start).Milliseconds())
	}
	check("subscribe-appear", func() string {
		return told(func() { register(second, instance(watched.service, "10.3.0.2", 8002)) },
			func(hosts []model.Instance) bool { return find(hosts, "10.3.0.2") != nil })
	})
	check("subscribe-vanish", func() string {
		expect(find(watched.hosts(), "10.3.0.2") != nil, watched.hosts())
		return told(func() { deregister(second, watched.service, "10.3.0.2", 8002) },
			func(hosts []model.Instance) bool { return find(hosts, "10.3.0.2") == nil })
	})
	check("http-appear", func() string {
		return told(func() { httpWrite(http.MethodPost, watched.service, "10.3.0.3", "weight", "0.5") },
			func(hosts []model.Instance) bool {
				host := find(hosts, "10.3.0.3")
				return host != nil && host.Weight == 0.5
			})
	})
	check("http-vanish", func() string {
		expect(find(watched.hosts(), "10.3.0.3") != nil, watched.hosts())
		return told(func() { httpWrite(http.MethodDelete, watched.service, "10.3.0.3") },
			func(hosts []model.Instance) bool { return find(hosts, "10.3.0.3") == nil })
	})
}

func killed() {
	watched := newWatch(prefix + "-killed")
	check("client-killed", func() string {
		own, err := os.Executable()
		expect(err == nil, err)
		process := exec.Command(own, address, prefix, filepath.Join(directory, "victim"), watched.service)
		output, err := process.StdoutPipe()
		expect(err == nil && process.Start() == nil, err)
		defer process.Wait()
		defer process.Process.Kill()
		lines := bufio.NewScanner(output)
		for lines.Scan() && lines.Text() != "registered" {
		}
		await(pushLimit, watched.hosts, func(hosts []model.Instance) bool { return find(hosts, victim) != nil })
		expect(process.Process.Kill() == nil)
		start := time.Now()
		await(pushLimit, watched.hosts, func(hosts []model.Instance) bool { return find(hosts, victim) == nil })
		return fmt.Sprintf("gone after %d ms", time.Since(start).Milliseconds())
	})
}

// Tells the caller that all else is done, by a file, and waits for the file that says that the server has restarted.
func restarted() {
	watched := newWatch(prefix + "-restart")
	if err := os.WriteFile(filepath.Join(directory, "ready"), nil, 0o644); err != nil {
		panic(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(directory, "restarted")); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	check("server-restart", func() string {
		start := time.Now()
		await(restartLimit, httpList(watched.service), count(1))
		back := time.Since(start)
		httpWrite(http.MethodPost, watched.service, "10.3.0.4")
		await(restartLimit-back, watched.hosts, func(hosts []model.Instance) bool {
			return find(hosts, "10.3.0.1") != nil && find(hosts, "10.3.0.4") != nil
		})
		return fmt.Sprintf("back after %d ms, subscribed again after %d ms", back.Milliseconds(), time.Since(start).Milliseconds())
	})
}

// A service with one instance, 10.3.0.1:8001, and a subscriber to it.
type watch struct {
	service string
	last    atomic.Pointer[[]model.Instance]
}

func newWatch(service string) *watch {
	watched := &watch{service: service}
	register(newClient(""), instance(service, "10.3.0.1", 8001))
	err := newClient("").Subscribe(&vo.SubscribeParam{ServiceName: service, SubscribeCallback: func(hosts []model.Instance, err error) {
		if err == nil {
			watched.last.Store(&hosts)
		}
	}})
	expect(err == nil, err)
	await(5*time.Second, watched.hosts, count(1))
	return watched
}

func (watched *watch) hosts() []model.Instance {
	if last := watched.last.Load(); last != nil {
		return *last
	}
	return nil
}

func newClient(namespace string) naming_client.INamingClient {
	host, portText, err := net.SplitHostPort(address)
	expect(err == nil, err)
	port, err := strconv.ParseUint(portText, 10, 16)
	expect(err == nil, err)
	own := filepath.Join(directory, strconv.Itoa(int(clientNo.Add(1))))
	client, err := clients.NewNamingClient(vo.NacosClientParam{
		ServerConfigs: []constant.ServerConfig{*constant.NewServerConfig(host, port)},
		ClientConfig: &constant.ClientConfig{
			TimeoutMs: 5000, NamespaceId: namespace, NotLoadCacheAtStart: true,
			LogDir: own, CacheDir: own, LogLevel: "warn",
		},
	})
	expect(err == nil, err)
	return client
}

func instance(service, ip string, port uint64) vo.RegisterInstanceParam {
	return vo.RegisterInstanceParam{ServiceName: service, Ip: ip, Port: port, Weight: 1, Enable: true, Healthy: true, Ephemeral: true}
}

func register(client naming_client.INamingClient, instance vo.RegisterInstanceParam) {
	ok, err := client.RegisterInstance(instance)
	expect(ok && err == nil, err)
}

func deregister(client naming_client.INamingClient, service, ip string, port uint64) {
	ok, err := client.DeregisterInstance(vo.DeregisterInstanceParam{ServiceName: service, Ip: ip, Port: port, Ephemeral: true})
	expect(ok && err == nil, err)
}

func list(client naming_client.INamingClient, service string) func() []model.Instance {
	return func() []model.Instance {
		// An empty list is an error to this SDK.
		hosts, _ := client.SelectAllInstances(vo.SelectAllInstancesParam{ServiceName: service})
		return hosts
	}
}

// Registers or deregisters over HTTP, as a client of 1.x does.
func httpWrite(method, service, ip string, more ...string) {
	query := url.Values{"serviceName": {service}, "ip": {ip}, "port": {"8003"}}
	if len(more) == 2 {
		query.Set(more[0], more[1])
	}
	body := call(method, "/nacos/v1/ns/instance", query)
	expect(string(body) == "ok", string(body))
}

// What a client of 1.x is told of a service.
func httpList(service string) func() []model.Instance {
	return func() []model.Instance {
		var answer model.Service
		body := call(http.MethodGet, "/nacos/v1/ns/instance/list", url.Values{"serviceName": {service}})
		expect(json.Unmarshal(body, &answer) == nil, string(body))
		return answer.Hosts
	}
}

func call(method, path string, query url.Values) []byte {
	request, err := http.NewRequest(method, "http://"+address+path+"?"+query.Encode(), nil)
	expect(err == nil, err)
	reply, err := http.DefaultClient.Do(request)
	expect(err == nil, err)
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	expect(err == nil, err)
	return body
}

func count(wanted int) func([]model.Instance) bool {
	return func(hosts []model.Instance) bool { return len(hosts) == wanted }
}

func find(hosts []model.Instance, ip string) *model.Instance {
	for index := range hosts {
		if hosts[index].Ip == ip {
			return &hosts[index]
		}
	}
	return nil
}

func await[T any](limit time.Duration, look func() T, wanted func(T) bool) T {
	deadline := time.Now().Add(limit)
	seen := look()
	for !wanted(seen) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
		seen = look()
	}
	expect(wanted(seen), "not within", limit, "last seen:", seen)
	return seen
}

// Gives up the running check; `seen` tells why.
func expect(ok bool, seen ...any) {
	if !ok {
		panic(fmt.Sprint("unexpected: ", fmt.Sprintln(seen...)))
	}
}

func check(name string, body func() string) {
	start := time.Now()
	ok, detail := func() (ok bool, detail string) {
		defer func() {
			if failure := recover(); failure != nil {
				ok, detail = false, fmt.Sprint(failure)
			}
		}()
		return true, body()
	}()
	line, _ := json.Marshal(map[string]any{"check": name, "ok": ok, "millis": time.Since(start).Milliseconds(), "detail": detail})
	fmt.Println(string(line))
}
