// Drives nacos-sdk-go through the conformance checks: check HOST:PORT PREFIX DIRECTORY.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-group/nacos-sdk-go/clients"
	"github.com/nacos-group/nacos-sdk-go/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/common/constant"
	"github.com/nacos-group/nacos-sdk-go/model"
	"github.com/nacos-group/nacos-sdk-go/util"
	"github.com/nacos-group/nacos-sdk-go/vo"
)

// Well below the 10 s after which this SDK polls: what arrives within it was pushed.
const pushLimit = 2 * time.Second

const beatPeriod = 6 * time.Second

var (
	address   string
	prefix    string
	directory string // for the SDK's logs and caches
	clientNo  atomic.Int32
	printing  sync.Mutex
	metadata  = map[string]string{"zone": "east 1", "owner": "Zoë"}
)

func main() {
	address, prefix, directory = os.Args[1], os.Args[2], os.Args[3]
	// With every address filtered the SDK names none for pushes, and they go to where its
	// requests come from: everything stays on this machine.
	if err := util.SetFilterNetNumberAndMask("0.0.0.0/0"); err != nil {
		panic(err)
	}
	var lifetimeDone sync.WaitGroup
	lifetimeDone.Add(1)
	go func() {
		defer lifetimeDone.Done()
		lifetime()
	}()
	basics()
	namespaces()
	subscriptions()
	lifetimeDone.Wait()
}

func basics() {
	service := prefix + "-basics"
	client := newClient("")
	check("register", func() string {
		weighted := instance(service, "10.1.0.1", 8001)
		weighted.Weight, weighted.Metadata = 2.5, metadata
		register(client, weighted)
		register(client, instance(service, "10.1.0.2", 8002))
		return ""
	})
	registerRaw(service, "10.1.0.3", 8003, false)
	check("list", func() string {
		all := await(3*time.Second, list(client, service), func(hosts []model.Instance) bool { return len(hosts) == 3 })
		weighted := find(all, "10.1.0.1")
		expect(weighted.Weight == 2.5 && reflect.DeepEqual(weighted.Metadata, metadata), weighted)
		expect(!find(all, "10.1.0.3").Healthy, all)
		return ""
	})
	check("list-healthy", func() string {
		hosts, err := client.SelectInstances(vo.SelectInstancesParam{ServiceName: service, HealthyOnly: true})
		expect(err == nil && len(hosts) == 2 && find(hosts, "10.1.0.3") == nil, hosts)
		return ""
	})
	check("deregister", func() string {
		deregister(client, service, "10.1.0.2", 8002)
		gone := func(hosts []model.Instance) bool { return find(hosts, "10.1.0.2") == nil }
		await(3*time.Second, list(client, service), gone)
		// A beat sent before it must not bring the instance back.
		time.Sleep(beatPeriod)
		// A new client asks the server, the old one answers from what it was pushed.
		for _, client := range []naming_client.INamingClient{client, newClient("")} {
			hosts := list(client, service)()
			expect(gone(hosts), hosts)
		}
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
		services, err := one.GetAllServicesInfo(vo.GetAllServiceInfoParam{})
		expect(err == nil && services.Count == 1 && reflect.DeepEqual(services.Doms, []string{service}), services)
		return ""
	})
}

func subscriptions() {
	provider := newClient("")
	watched := newWatch(provider, prefix+"-watch")
	check("subscribe-appear", func() string {
		start := time.Now()
		register(provider, instance(watched.service, "10.3.0.2", 8002))
		await(pushLimit, watched.hosts, func(hosts []model.SubscribeService) bool { return len(hosts) == 2 })
		return fmt.Sprintf("pushed after %d ms", time.Since(start).Milliseconds())
	})
	check("subscribe-vanish", func() string {
		expect(findWatched(watched.hosts(), "10.3.0.2") != nil, watched.hosts())
		start := time.Now()
		deregister(provider, watched.service, "10.3.0.2", 8002)
		await(pushLimit, watched.hosts, func(hosts []model.SubscribeService) bool { return len(hosts) == 1 })
		return fmt.Sprintf("pushed after %d ms", time.Since(start).Milliseconds())
	})
	crowd := newWatch(provider, prefix+"-crowd")
	check("subscribe-100", func() string {
		for number := uint64(2); number <= 100; number++ {
			member := instance(crowd.service, fmt.Sprintf("10.3.0.%d", number), 8000+number)
			// Short: this SDK reads no more than 4,024 bytes of a packet, zipped or not.
			member.Metadata = map[string]string{"zone": fmt.Sprintf("z%d", number%3)}
			register(provider, member)
		}
		start := time.Now()
		hosts := await(pushLimit, crowd.hosts, func(hosts []model.SubscribeService) bool { return len(hosts) == 100 })
		expect(findWatched(hosts, "10.3.0.100").Metadata["zone"] == "z1", hosts)
		return fmt.Sprintf("pushed %d ms after the last", time.Since(start).Milliseconds())
	})
}

// One instance that beats beside one that never does, for as long as the former takes to prove itself.
func lifetime() {
	service := prefix + "-lifetime"
	start := time.Now()
	watched := newWatch(newClient(""), service)
	var silent sync.WaitGroup
	silent.Add(1)
	go func() {
		defer silent.Done()
		silentStart := time.Now()
		age := func(least time.Duration, what string) string {
			age := time.Since(silentStart)
			expect(age >= least, what, age)
			return fmt.Sprintf("%s after %d ms", what, age.Milliseconds())
		}
		check("expiry-unhealthy", func() string {
			registerRaw(service, "10.4.0.9", 8009, true)
			await(5*time.Second, watched.hosts, func(hosts []model.SubscribeService) bool {
				return findWatched(hosts, "10.4.0.9") != nil
			})
			await(24*time.Second, watched.hosts, func(hosts []model.SubscribeService) bool {
				return !findWatched(hosts, "10.4.0.9").Healthy
			})
			return age(14*time.Second, "unhealthy")
		})
		check("expiry-removed", func() string {
			await(24*time.Second, watched.hosts, func(hosts []model.SubscribeService) bool {
				return findWatched(hosts, "10.4.0.9") == nil
			})
			return age(29*time.Second, "removed")
		})
	}()
	check("beats", func() string {
		for time.Since(start) < 42*time.Second {
			host := findWatched(watched.hosts(), "10.3.0.1")
			expect(host != nil && host.Healthy, watched.hosts())
			time.Sleep(500 * time.Millisecond)
		}
		// The watcher hears of changes only; a new client asks the server.
		host := find(list(newClient(""), service)(), "10.3.0.1")
		expect(host != nil && host.Healthy, host)
		return ""
	})
	silent.Wait()
}

// A service with one beating instance, 10.3.0.1:8001, and a subscriber to it.
type watch struct {
	service string
	last    atomic.Pointer[[]model.SubscribeService]
}

func newWatch(provider naming_client.INamingClient, service string) *watch {
	watched := &watch{service: service}
	register(provider, instance(service, "10.3.0.1", 8001))
	err := newClient("").Subscribe(&vo.SubscribeParam{ServiceName: service, SubscribeCallback: func(hosts []model.SubscribeService, err error) {
		if err == nil {
			watched.last.Store(&hosts)
		}
	}})
	expect(err == nil, err)
	await(3*time.Second, watched.hosts, func(hosts []model.SubscribeService) bool { return len(hosts) == 1 })
	return watched
}

func (watched *watch) hosts() []model.SubscribeService {
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
		ServerConfigs: []constant.ServerConfig{{IpAddr: host, Port: port, ContextPath: "/nacos"}},
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

// Registers without the SDK, so that nobody beats for the instance.
func registerRaw(service, ip string, port uint64, healthy bool) {
	target := fmt.Sprintf("http://%s/nacos/v1/ns/instance?serviceName=%s&ip=%s&port=%d&healthy=%t", address, service, ip, port, healthy)
	reply, err := http.Post(target, "application/x-www-form-urlencoded", nil)
	expect(err == nil, err)
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	expect(err == nil && string(body) == "ok", string(body))
}

func list(client naming_client.INamingClient, service string) func() []model.Instance {
	return func() []model.Instance {
		hosts, err := client.SelectAllInstances(vo.SelectAllInstancesParam{ServiceName: service})
		expect(err == nil, err)
		return hosts
	}
}

func find(hosts []model.Instance, ip string) *model.Instance {
	for index := range hosts {
		if hosts[index].Ip == ip {
			return &hosts[index]
		}
	}
	return nil
}

func findWatched(hosts []model.SubscribeService, ip string) *model.SubscribeService {
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
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}
