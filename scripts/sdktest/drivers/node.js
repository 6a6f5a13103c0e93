// Runs unmodified SDKs for Node.js. It reads one JSON object a line from stdin, and
// answers each with one on stdout: {"id"} and, if the SDK's user gets an error, {"error"}.
"use strict";
const fs = require("fs");
const os = require("os");
const path = require("path");
const readline = require("readline");
require("reflect-metadata");

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "zhongkong-sdktest-"));
process.on("exit", () => fs.rmSync(scratch, { recursive: true, force: true }));

// checked throws WeChat's error, for SDKs that return it as an answer.
function checked(answer) {
  if (!answer || answer.errcode) {
    throw answer || new Error("no answer");
  }
  return answer;
}

const callback = (call) => new Promise((resolve, reject) => call((err, result) => (err ? reject(err) : resolve(result))));

let nestBase; // where nest-wechat's requests go

// Each opens a client as the SDK's user does. login is left out where the SDK has none.
const sdks = {
  "co-wechat-api"({ base, appid, secret }) {
    const API = require("co-wechat-api");
    const api = new API(appid, secret);
    api.prefix = base + "/cgi-bin/";
    api.snsPrefix = base + "/sns/";
    return {
      token: () => api.ensureAccessToken(),
      call: () => api.getIp(),
      login: (code) => api.code2Session(code),
    };
  },

  "wechat-api"({ base, appid, secret }) {
    const API = require("wechat-api");
    const api = new API(appid, secret);
    api.endpoint = base;
    return {
      token: () => callback((back) => api.getLatestToken(back)),
      call: () => callback((back) => api.getIp(back)),
    };
  },

  "wechat-jssdk"({ base, appid, secret, session }) {
    const { JSSDK, MiniProgram } = require("wechat-jssdk");
    const storeOptions = { fileStorePath: path.join(scratch, session + ".json") };
    const jssdk = new JSSDK({
      appId: appid,
      appSecret: secret,
      wechatToken: "x",
      wechatRedirectUrl: "http://127.0.0.1/",
      accessTokenUrl: base + "/cgi-bin/token",
      ticketUrl: base + "/cgi-bin/ticket/getticket",
      storeOptions,
    });
    const mini = new MiniProgram({
      miniProgram: { appId: appid, appSecret: secret, GET_SESSION_KEY_URL: base + "/sns/jscode2session" },
      storeOptions,
    });
    return {
      token: () => jssdk.getAccessToken(),
      call: () => jssdk.getGlobalTokenAndTicket(true), // the ticket that signatures are made of
      login: (code) => mini.getSession(code),
    };
  },

  "node-easywechat"({ base, appid, secret, session, sdk }) {
    const { OfficialAccount, MiniApp } = require("node-easywechat");
    const config = {
      app_id: appid,
      secret,
      http: { baseURL: base },
      file_cache: { path: path.join(scratch, session) },
      use_stable_access_token: sdk.endsWith("stable_token"),
    };
    const app = new OfficialAccount(config);
    return {
      token: () => app.getAccessToken().getToken(),
      call: async () => checked((await app.getClient().request("get", "/cgi-bin/getcallbackip")).toObject()),
      login: (code) => new MiniApp(config).getUtils().codeToSession(code),
    };
  },

  "nest-wechat"({ base, appid, secret }) {
    const { WeChatService } = require("nest-wechat");
    if (!nestBase) {
      const axios = require(require.resolve("axios", { paths: [require.resolve("nest-wechat")] }));
      axios.interceptors.request.use((r) => ({ ...r, url: r.url.replace("https://api.weixin.qq.com", nestBase) }));
    }
    nestBase = base;
    const service = new WeChatService({ appId: appid, secret });
    return {
      token: async () => {
        if (!(await service.getToken())) {
          checked(await service.getStableAccessToken()); // getToken hides the reason
        }
      },
      call: async () => checked(await service.getJSApiTicket()),
      login: async (code) => checked(await service.mp.code2Session(code)),
    };
  },
};

// An example of the documentation. Its last line returns the function that makes a call.
sdks.example = async ({ code }) => {
  process.chdir(scratch); // node-easywechat keeps its tokens in a file
  const AsyncFunction = (async () => {}).constructor;
  return { call: await new AsyncFunction("require", "checked", "callback", code)(require, checked, callback) };
};

// What an SDK gets of a family of accounts, by account.
const families = {
  async "co-wechat-api"({ base, appid, secret }) {
    const API = require("co-wechat-api");
    const api = new API(appid, secret);
    api.prefix = base + "/cgi-bin/";
    return {
      shop: (await api.ensureAccessToken()).accessToken,
      "shop.jsapi": (await api.getTicket("jsapi")).ticket,
      "shop.wx_card": (await api.getTicket("wx_card")).ticket,
    };
  },

  async "node-easywechat"({ base, appid, corpid, secret, session }) {
    const { OfficialAccount, Work } = require("node-easywechat");
    const settings = { secret, http: { baseURL: base }, file_cache: { path: path.join(scratch, session) } };
    const account = new OfficialAccount({ ...settings, app_id: appid });
    const work = new Work({ ...settings, corp_id: corpid, token: "x", aes_key: "x" });
    return {
      shop: await account.getAccessToken().getToken(),
      "shop.jsapi": await account.getTicket().getTicket(),
      sales: await work.getAccessToken().getToken(),
      "sales.corp": await work.getTicket().getTicket(),
      "sales.agent": await work.getTicket().getAgentTicket("1000002"),
    };
  },
};

const sessions = new Map();

async function carryOut(request) {
  if (request.op === "family") {
    return families[request.sdk](request);
  }
  if (request.op === "open") {
    sessions.set(request.session, await sdks[request.sdk.split(",")[0]](request));
    return;
  }
  await sessions.get(request.session)[request.op](request.code);
}

readline
  .createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const request = JSON.parse(line);
    const answer = { id: request.id };
    try {
      answer.values = await carryOut(request);
    } catch (err) {
      answer.error = `${err.code || err.errcode || ""} ${err.message || err.errmsg || err}`;
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  })
  .on("close", () => process.exit());
