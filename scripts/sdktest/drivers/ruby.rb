# Sends what the WeChat SDK for Ruby sends, by the HTTP client that it uses. It reads one
# JSON object a line from stdin, and answers each with one on stdout: {"id"} and, if the
# SDK's user gets an error, {"error"}. What the SDK sends, how long it keeps a token and
# how often it repeats a call are in the "wire" of "open".
require "http"
require "json"
require "uri"

REJECTED = [40001, 40014, 42001].freeze

def checked(answer)
  code = answer["errcode"].to_i
  raise "#{code} #{answer["errmsg"]}" unless code.zero?

  answer
end

class Client
  def initialize(opened)
    @base, @appid, @secret, @wire = opened.values_at("base", "appid", "secret", "wire")
    @kept = nil
    @until = Time.at(0)
  end

  def get(path)
    JSON.parse(HTTP.timeout(20).get(@base + path).to_s)
  end

  def fetch
    secret = @wire["escape"] ? URI.encode_www_form_component(@secret) : @secret
    answer = checked(get("/cgi-bin/token?" + @wire["query"].sub("{appid}", @appid).sub("{secret}", secret)))
    @until = Time.now + answer["expires_in"] - @wire["margin"].to_i
    @kept = answer["access_token"]
  end

  def token
    @kept && Time.now < @until ? @kept : fetch
  end

  def call
    repeated = 0
    loop do
      answer = get("/cgi-bin/getcallbackip?access_token=" + token)
      return checked(answer) unless REJECTED.include?(answer["errcode"]) && repeated < @wire["retries"].to_i

      repeated += 1
      fetch
    end
  end

  def login(code)
    query = { appid: @appid, secret: @secret, js_code: code, grant_type: "authorization_code" }
    checked(get("/sns/jscode2session?" + URI.encode_www_form(query)))
  end
end

clients = {}
$stdout.sync = true
$stdin.each_line do |line|
  request = JSON.parse(line)
  answer = { id: request["id"] }
  begin
    if request["op"] == "open"
      clients[request["session"]] = Client.new(request)
    elsif request["op"] == "login"
      clients[request["session"]].login(request["code"])
    else
      clients[request["session"]].public_send(request["op"])
    end
  rescue StandardError => e
    answer[:error] = "#{e.class}: #{e.message}"
  end
  puts JSON.generate(answer)
end
