<?php
// Sends what WeChat SDKs for PHP send, by the HTTP client that they use. It reads one
// JSON object a line from stdin, and answers each with one on stdout: {"id"} and, if
// the SDK's user gets an error, {"error"}. What an SDK sends, how long it keeps a token
// and how often it repeats a call are in the "wire" of "open".
declare(strict_types=1);

require_once 'GuzzleHttp/autoload.php';
require_once 'Symfony/Component/HttpClient/autoload.php';
require_once 'Symfony/Component/Cache/autoload.php';
require_once 'Psr/SimpleCache/autoload.php';

use Symfony\Component\Cache\Adapter\ArrayAdapter;
use Symfony\Component\Cache\Psr16Cache;

const REJECTED = [40001, 40014, 42001];

function checked(array $answer): array
{
    if (!empty($answer['errcode'])) {
        throw new RuntimeException($answer['errcode'] . ' ' . $answer['errmsg']);
    }
    return $answer;
}

final class Client
{
    private array $wire;
    private Psr16Cache $cache;
    private string $key;
    private bool $repeated = false;

    public function __construct(private array $opened)
    {
        $this->wire = $opened['wire'];
        $this->cache = new Psr16Cache(new ArrayAdapter());
        // As in EasyWeChat 6: the secret is part of the key, in which Symfony's cache allows no {}()/\@: .
        $this->key = "official_account.access_token.{$opened['appid']}.{$opened['secret']}.0";
    }

    private function send(string $method, string $path, string $json = ''): array
    {
        $url = $this->opened['base'] . $path;
        $headers = $json === '' ? [] : ['Content-Type' => 'application/json'];
        $body = match ($this->wire['http']) {
            'symfony' => Symfony\Component\HttpClient\HttpClient::create()
                ->request($method, $url, ['headers' => $headers, 'body' => $json])->getContent(),
            'guzzle' => (string) (new GuzzleHttp\Client())
                ->request($method, $url, ['headers' => $headers, 'body' => $json])->getBody(),
            'curl' => $this->curl($url),
        };
        return json_decode($body, true, 512, JSON_THROW_ON_ERROR);
    }

    private function curl(string $url): string
    {
        $handle = curl_init($url);
        curl_setopt_array($handle, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 60, CURLOPT_HEADER => false]);
        $body = curl_exec($handle);
        if ($body === false) {
            throw new RuntimeException(curl_error($handle));
        }
        return $body;
    }

    private function fetch(): string
    {
        $secret = empty($this->wire['escape']) ? $this->opened['secret'] : rawurlencode($this->opened['secret']);
        if (!empty($this->wire['stable'])) {
            $answer = $this->send('POST', '/cgi-bin/stable_token', json_encode([
                'grant_type' => 'client_credential', 'appid' => $this->opened['appid'],
                'secret' => $this->opened['secret'], 'force_refresh' => false,
            ]));
        } else {
            $query = strtr($this->wire['query'], ['{appid}' => $this->opened['appid'], '{secret}' => $secret]);
            $answer = $this->send('GET', '/cgi-bin/token?' . $query);
        }
        $keep = $this->wire['keep'] ?? checked($answer)['expires_in'];
        $this->cache->set($this->key, checked($answer)['access_token'], $keep);
        return $answer['access_token'];
    }

    public function token(): string
    {
        return $this->cache->get($this->key) ?? $this->fetch();
    }

    public function call(): array
    {
        for ($repeated = 0; ; $repeated++) {
            $answer = $this->send('GET', '/cgi-bin/getcallbackip?access_token=' . $this->token());
            $may = $repeated < ($this->wire['retries'] ?? 0) && !(!empty($this->wire['once']) && $this->repeated);
            if (!$may || !in_array($answer['errcode'] ?? 0, REJECTED, true)) {
                return checked($answer);
            }
            $this->repeated = true;
            $this->fetch();
        }
    }

    public function login(string $code): array
    {
        return checked($this->send('GET', '/sns/jscode2session?' . http_build_query([
            'appid' => $this->opened['appid'], 'secret' => $this->opened['secret'],
            'js_code' => $code, 'grant_type' => 'authorization_code',
        ])));
    }
}

$clients = [];
while (($line = fgets(STDIN)) !== false) {
    $request = json_decode($line, true);
    $answer = ['id' => $request['id']];
    try {
        match ($request['op']) {
            'open' => $clients[$request['session']] = new Client($request),
            'token' => $clients[$request['session']]->token(),
            'call' => $clients[$request['session']]->call(),
            'login' => $clients[$request['session']]->login($request['code']),
        };
    } catch (Throwable $err) {
        $answer['error'] = get_class($err) . ': ' . $err->getMessage();
    }
    echo json_encode($answer), "\n";
}
