package wecom_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

func ExampleConfig_Source() {
	sandbox := wecomtest.New(wecomtest.Config{})
	source, err := wecom.Config{
		CorpID:    wecomtest.DefaultCorpID,
		Secret:    wecomtest.DefaultSecret,
		Transport: sandbox.Transport(), // leave it out for WeCom itself
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := source.Fetch(context.Background(), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
	fmt.Println(source, result.Token, result.Lifetime, err)
	// Output: wecom.Source(ww8acdb7df5beb68fd wecom) [token] 2h0m0s <nil>
}

// A wrong secret is refused, and not sent again for 2 hours.
func ExampleSource_Fetch() {
	sandbox := wecomtest.New(wecomtest.Config{})
	source, err := wecom.Config{
		CorpID: wecomtest.DefaultCorpID, Secret: "wrong", Transport: sandbox.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		_, err := source.Fetch(context.Background(), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
		var failure *coordinator.FetchError
		if errors.As(err, &failure) {
			fmt.Println(failure.Kind, failure.Code, "calls:", failure.Calls)
		}
	}
	// Output:
	// refused 40001 calls: 1
	// refused 40001 calls: 0
}

func ExampleClassify() {
	fmt.Println(wecom.Classify(45009).RetryIn, wechat.Classify(45009).UntilMidnight)
	// Output: 20m0s true
}

// wechat.Transport makes business calls of WeCom's as well.
func Example_businessCall() {
	sandbox := wecomtest.New(wecomtest.Config{})
	source, err := wecom.Config{
		CorpID: wecomtest.DefaultCorpID, Secret: wecomtest.DefaultSecret, Transport: sandbox.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := coordinator.New(coordinator.Config{Store: memstore.New().Instance("example")})
	if err != nil {
		fmt.Println(err)
		return
	}
	account, err := c.Add(coordinator.AccountConfig{Name: "sales", Source: source})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: &wechat.Transport{Account: account, Base: sandbox.Transport()}}
	resp, err := client.Get(wecom.DefaultBaseURL + "/cgi-bin/agent/get?agentid=1000002")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: {"errcode":0,"errmsg":"ok","name":"app"} <nil>
}

func ExampleProber() {
	sandbox := wecomtest.New(wecomtest.Config{})
	err := wecom.Prober{Transport: sandbox.Transport()}.Probe(context.Background(), coordinator.NewToken("one that is dead"))
	fmt.Println(wecom.Rejected(err))
	// Output: true
}

// A service provider keeps the tokens of all corps that have its suite.
func ExampleSuite() {
	store := memstore.New().Instance("example") // a real one is durable: package redisstore
	var sealer grantfile.Sealer                 // put in the program's own, which encrypts: OpenSpool refuses nil
	spool, err := grantfile.OpenSpool("/var/lib/suite/spool", "example", sealer)
	if err != nil {
		log.Fatal(err)
	}
	zk, err := coordinator.New(coordinator.Config{Store: store, Spool: spool})
	if err != nil {
		log.Fatal(err)
	}
	source, err := wecom.Config{Kind: wecom.SuiteToken, SuiteID: "ww4asffe99e54c0f4c", Secret: os.Getenv("SUITE_SECRET")}.Source()
	if err != nil {
		log.Fatal(err)
	}
	account, err := zk.Add(coordinator.AccountConfig{Name: "ww4asffe99e54c0f4c", Source: source})
	if err != nil {
		log.Fatal(err)
	}
	suite, err := wecom.NewSuite(wecom.SuiteConfig{
		SuiteID: "ww4asffe99e54c0f4c", Token: os.Getenv("CALLBACK_TOKEN"), EncodingAESKey: os.Getenv("ENCODING_AES_KEY"),
		Account: account, Coordinator: zk, Grants: store, Spool: spool,
	})
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, msgcrypt.MaxBody))
		if err != nil {
			return
		}
		answer, err := suite.Callback(r.Context(), r.Method, r.URL.Query(), body)
		if err != nil { // WeCom pushes it again
			http.Error(w, "not taken", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, answer)
	})

	// An auth_code is exchanged with the suite's token, which zk has only while it runs.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	stop := zk.Start(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { suite.Run(ctx) })
	go func() { log.Print(http.ListenAndServe("127.0.0.1:8080", nil)); cancel() }()
	running.Wait() // an exchange that is under way is finished first
}
