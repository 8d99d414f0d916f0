import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import java.io.File;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.Files;
import org.apache.iceberg.io.FileIO;
import org.apache.iceberg.io.InputFile;
import org.apache.iceberg.io.OutputFile;
import org.apache.iceberg.io.PositionOutputStream;
import org.apache.iceberg.io.SeekableInputStream;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.http.UriCompliance;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/**
 * Iceberg's own REST catalog over SQLite, with what tests need beside it: a catalog of its own for each first
 * step of the path, made when it is first asked for, and nothing for who has no token.
 * Arguments: port, folder, client id, client secret, token, which those get who have both.
 */
public class IcebergServer {
    public static void main(String[] given) throws Exception {
        HttpConfiguration lenient = new HttpConfiguration();
        lenient.setUriCompliance(UriCompliance.UNSAFE); // levels of a namespace are sent with %1F between them
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server, new HttpConnectionFactory(lenient));
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(given[0]));
        server.addConnector(connector);
        ServletContextHandler handler = new ServletContextHandler(ServletContextHandler.NO_SESSIONS);
        handler.addServlet(new ServletHolder(new Catalogs(new File(given[1]), given[2], given[3], given[4])), "/*");
        handler.getServletHandler().setDecodeAmbiguousURIs(true);
        server.setHandler(handler);
        server.start();
        server.join();
    }

    /** Files of this machine, without Hadoop. Iceberg makes it by its name. */
    public static class LocalFiles implements FileIO {
        public LocalFiles() { }

        @Override
        public InputFile newInputFile(String path) {
            return new Input(path, Files.localInput(plain(path)));
        }

        @Override
        public OutputFile newOutputFile(String path) {
            return new Output(path, Files.localOutput(plain(path)));
        }

        @Override
        public void deleteFile(String path) {
            new File(plain(path)).delete();
        }

        private static String plain(String path) {
            return path.replaceFirst("^file:(//)?", "");
        }
    }
}

class Catalogs extends HttpServlet {
    private final Map<String, RESTCatalogServlet> catalogs = new ConcurrentHashMap<>();
    private final File folder;
    private final String client;
    private final String secret;
    private final String token;

    Catalogs(File folder, String client, String secret, String token) {
        this.folder = folder;
        this.client = client;
        this.secret = secret;
        this.token = token;
    }

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) {
        try {
            String[] steps = request.getRequestURI().split("/", 3); // nothing, the catalog, the rest
            if (steps.length < 3 || steps[1].isEmpty()) {
                refuse(response, 404, "NotFoundException", "no catalog of that name");
            } else if (steps[2].equals("v1/oauth/tokens")) {
                give(request, response);
            } else if (!("Bearer " + token).equals(request.getHeader("Authorization"))) {
                refuse(response, 401, "NotAuthorizedException", "Not authorized: the token is not known");
            } else {
                catalogs.computeIfAbsent(steps[1], this::opened).service(new Below(request, "/" + steps[2]), response);
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private RESTCatalogServlet opened(String name) {
        Map<String, String> properties = new HashMap<>();
        properties.put("catalog-impl", "org.apache.iceberg.jdbc.JdbcCatalog");
        properties.put("uri", "jdbc:sqlite:" + new File(folder, name + ".db"));
        properties.put("warehouse", new File(folder, name).toURI().toString());
        properties.put("io-impl", IcebergServer.LocalFiles.class.getName());
        properties.put("jdbc.schema-version", "V1");
        return new RESTCatalogServlet(new RESTCatalogAdapter(CatalogUtil.buildIcebergCatalog(name, properties, null)));
    }

    private void give(HttpServletRequest request, HttpServletResponse response) throws Exception {
        Map<String, String> form = new HashMap<>();
        for (String pair : new String(request.getInputStream().readAllBytes(), StandardCharsets.UTF_8).split("&")) {
            String[] both = pair.split("=", 2);
            form.put(both[0], URLDecoder.decode(both.length > 1 ? both[1] : "", StandardCharsets.UTF_8));
        }
        if (client.equals(form.get("client_id")) && secret.equals(form.get("client_secret"))) {
            answer(response, 200, "{\"access_token\": \"" + token + "\", \"token_type\": \"bearer\", \"expires_in\": 3600}");
        } else {
            answer(response, 401, "{\"error\": \"invalid_client\", \"error_description\": \"Credentials are not valid\"}");
        }
    }

    private static void refuse(HttpServletResponse response, int status, String type, String message) throws Exception {
        answer(response, status, "{\"error\": {\"message\": \"" + message + "\", \"type\": \"" + type + "\", \"code\": " + status + "}}");
    }

    private static void answer(HttpServletResponse response, int status, String body) throws Exception {
        response.setStatus(status);
        response.setContentType("application/json");
        response.getOutputStream().write(body.getBytes(StandardCharsets.UTF_8));
    }
}

/** A request as the catalog below sees it: without the first step of its path. */
class Below extends HttpServletRequestWrapper {
    private final String path;

    Below(HttpServletRequest request, String path) {
        super(request);
        this.path = path;
    }

    @Override
    public String getRequestURI() {
        return path;
    }
}

/** A file that is called what it was asked for as, with its scheme. */
record Input(String location, InputFile file) implements InputFile {
    @Override
    public long getLength() {
        return file.getLength();
    }

    @Override
    public SeekableInputStream newStream() {
        return file.newStream();
    }

    @Override
    public boolean exists() {
        return file.exists();
    }
}

/** The same, to be written. */
record Output(String location, OutputFile file) implements OutputFile {
    @Override
    public PositionOutputStream create() {
        return file.create();
    }

    @Override
    public PositionOutputStream createOrOverwrite() {
        return file.createOrOverwrite();
    }

    @Override
    public InputFile toInputFile() {
        return new Input(location, file.toInputFile());
    }
}
