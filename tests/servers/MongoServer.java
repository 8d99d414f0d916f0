import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;
import java.io.FileInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import javax.crypto.Mac;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * mongo-java-server in memory, with what tests need beside it: one user who signs in by SCRAM-SHA-256, and TLS.
 * Arguments: port, user, password, PKCS12 file (empty: no TLS). Ends when its standard input does.
 */
class Server {
    public static void main(String[] given) throws Exception {
        Backend backend = new Backend(given[1], given[2]);
        backend.version(new MongoVersion() {
            public int getWireVersion() { return 13; } // its own 8 is too old for drivers of today
            public List<Integer> getVersionArray() { return List.of(5, 0, 0); }
        });
        MongoServer server = new MongoServer(backend);
        if (!given[3].isEmpty()) {
            KeyStore keys = KeyStore.getInstance("PKCS12");
            keys.load(new FileInputStream(given[3]), "test".toCharArray());
            PrivateKey key = (PrivateKey) keys.getKey("1", "test".toCharArray());
            server.enableSsl(key, "test", (X509Certificate) keys.getCertificate("1"));
        }
        server.bind("127.0.0.1", Integer.parseInt(given[0]));
        while (System.in.read() >= 0) { }
        Runtime.getRuntime().halt(0);
    }
}

class Backend extends MemoryBackend {
    private static final Set<String> FREE =
        Set.of("ismaster", "isMaster", "hello", "ping", "buildInfo", "buildinfo", "saslStart", "saslContinue");
    private static final int ROUNDS = 4096;
    private final String user;
    private final String password;
    private final byte[] salt = "asgard-test-salt".getBytes(StandardCharsets.UTF_8);
    private final Map<Channel, String> half = new ConcurrentHashMap<>();
    private final Set<Channel> signedIn = ConcurrentHashMap.newKeySet();

    Backend(String user, String password) {
        this.user = user;
        this.password = password;
    }

    @Override
    public Document handleMessage(MongoMessage message) {
        Document asked = message.getDocument();
        String command = asked.keySet().iterator().next();
        if (command.equals("saslStart")) return started(message.getChannel(), text(asked));
        if (command.equals("saslContinue")) return continued(message.getChannel(), text(asked));
        if (!FREE.contains(command) && !signedIn.contains(message.getChannel())) {
            throw new MongoServerError(13, "Unauthorized", "command " + command + " requires authentication");
        }
        return greeted(asked, super.handleMessage(message));
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document asked) {
        return greeted(asked, super.handleCommand(channel, database, command, asked));
    }

    @Override
    public void handleClose(Channel channel) {
        half.remove(channel);
        signedIn.remove(channel);
        super.handleClose(channel);
    }

    private Document greeted(Document asked, Document answer) {
        if (asked.containsKey("saslSupportedMechs")) answer.put("saslSupportedMechs", List.of("SCRAM-SHA-256"));
        return answer;
    }

    private Document started(Channel channel, String first) {
        String bare = first.substring(3); // behind "n,,"
        String nonce = bare.substring(bare.indexOf(",r=") + 3) + "server";
        String answer = "r=" + nonce + ",s=" + Base64.getEncoder().encodeToString(salt) + ",i=" + ROUNDS;
        half.put(channel, bare + "," + answer);
        return step(answer, false);
    }

    private Document continued(Channel channel, String last) {
        if (last.isEmpty()) return step("", true);
        String bare = last.substring(0, last.indexOf(",p="));
        String said = half.remove(channel) + "," + bare;
        byte[] salted = salted();
        byte[] clientKey = hmac(salted, "Client Key");
        byte[] signature = hmac(sha256(clientKey), said);
        byte[] proof = Base64.getDecoder().decode(last.substring(last.indexOf(",p=") + 3));
        for (int i = 0; i < proof.length; i++) proof[i] ^= signature[i];
        if (!said.startsWith("n=" + user.replace("=", "=3D").replace(",", "=2C") + ",")
                || !MessageDigest.isEqual(proof, clientKey)) {
            throw new MongoServerError(18, "AuthenticationFailed", "Authentication failed.");
        }
        signedIn.add(channel);
        byte[] verifier = hmac(hmac(salted, "Server Key"), said);
        return step("v=" + Base64.getEncoder().encodeToString(verifier), false);
    }

    private Document step(String payload, boolean done) {
        return new Document("conversationId", 1).append("done", done)
            .append("payload", new BinData(payload.getBytes(StandardCharsets.UTF_8))).append("ok", 1.0);
    }

    private String text(Document asked) {
        Object payload = asked.get("payload");
        byte[] data = payload instanceof BinData ? ((BinData) payload).getData() : (byte[]) payload;
        return new String(data, StandardCharsets.UTF_8);
    }

    private byte[] salted() {
        try {
            PBEKeySpec spec = new PBEKeySpec(password.toCharArray(), salt, ROUNDS, 256);
            return SecretKeyFactory.getInstance("PBKDF2WithHmacSHA256").generateSecret(spec).getEncoded();
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private static byte[] hmac(byte[] key, String text) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private static byte[] sha256(byte[] data) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(data);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }
}
