// Gets a token with co-wechat-api as it is published, and makes a call with it.
"use strict";
const API = require("co-wechat-api");

function sdk(secret) {
  const api = new API(process.env.APPID, secret);
  api.prefix = process.env.BASE + "/cgi-bin/"; // all that is configured
  return api;
}

(async () => {
  const api = sdk(process.env.SECRET);
  const { accessToken } = await api.ensureAccessToken();
  const { ip_list: ips } = await api.getIp();
  let wrong = 0;
  try {
    await sdk("sdk:wrong").ensureAccessToken();
  } catch (err) {
    wrong = err.code;
  }
  console.log(JSON.stringify({ token: accessToken, ips, wrong }));
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
